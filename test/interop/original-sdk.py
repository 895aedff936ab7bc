"""Runs calls of the original SDK's Images, each a line of JSON on stdin, and answers each with a line on stdout.

argv: URL of the platform's API, a token, a folder for the SDK's configuration.
"""

import asyncio
import json
import sys
from pathlib import Path

from neuro_sdk import Factory, TagOption
from yarl import URL


async def call(client, request):
    images, parse = client.images, client.parse
    method = request["method"]
    if method == "list":
        return [str(image) for image in await images.list()]
    if method == "tags":
        image = parse.remote_image(request["image"], tag_option=TagOption.DENY)
        return [str(tag) for tag in await images.tags(image)]
    image = parse.remote_image(request["image"])
    if method == "size":
        return await images.size(image)
    if method == "tag_info":
        tag = await images.tag_info(image)
        return {"name": tag.name, "size": tag.size}
    if method == "digest":
        return await images.digest(image)
    if method == "rm":
        return await images.rm(image, request["digest"])
    raise ValueError(method)


async def main():
    url, token, folder = sys.argv[1:]
    factory = Factory(path=Path(folder))
    await factory.login_with_token(token, url=URL(url))
    client = await factory.get()
    try:
        for line in sys.stdin:
            try:
                answer = {"result": await call(client, json.loads(line))}
            except Exception as error:
                answer = {"error": type(error).__name__, "message": str(error)}
            print(json.dumps(answer), flush=True)
    finally:
        await client.close()


asyncio.run(main())
