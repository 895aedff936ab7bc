// Prints what distribution/reference makes of names that are written in many ways, as JSON. Run by hand, when the
// version in go.mod changes: go run . > ../reference-vectors.json
package main

import (
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/json"
	"os"
	"runtime/debug"
	"strings"

	"github.com/distribution/reference"
)

type vector struct {
	Text string `json:"text"`
	// Null where the text is refused.
	Parts *parts `json:"parts"`
}

type parts struct {
	Domain string `json:"domain"`
	Path   string `json:"path"`
	Tag    string `json:"tag"`
	Digest string `json:"digest"`
}

func inputs() []string {
	hex := strings.Repeat("0123456789abcdef", 4)
	sha256 := "sha256:" + hex
	domains := []string{
		"", "localhost/", "localhost:5000/", "Localhost/", "localhost.localdomain/", "example.com/", "Example.COM/",
		"example.com:443/", "example.com:65535/", "example.com:99999/", "example.com:0/", "example.com:080/", "example.com:/",
		"example/", "EXAMPLE/", "docker.io/", "index.docker.io/", "registry-1.docker.io/", "127.0.0.1:5000/", "[::1]/",
		"[::1]:5000/", "[2001:db8::1]/", "[fe80::1%25eth0]:5000/", "[::1/", "::1/", "user@host/", "user:pw@host.example/",
		"a..b/", "-a.b/", "a-.b/", "a.-b/", "xn--n3h.com/", "a_b.c/", "https://example.com/", "//example.com/", "a.b./", ".a/",
		"1.2.3.4/", "a.b:c/", "example.com?x/", "example.com#x/",
	}
	paths := []string{
		"a", "a/b", "a/b/c/d", "library/a", "a_b", "a__b", "a___b", "a.b", "a..b", "a-b", "a--b", "a---b", "a-", "-a", "_a",
		"a_", "a.", ".a", "a._b", "A", "aB", "a/B", "a//b", "/a", "a/", "a/../b", "./a", "a/.", "..", ".", "a b", " a", "a ",
		"a%20b", "a+b", "a~b", "a\\b", "a\tb", "a\nb", "a\x00b", "\u00e9", "a\u200bb", "a\u202eb", "\uff41", "con", "nul/x",
		"0", "00/1", "9a", hex, hex[:63], hex + "0", "x/" + hex, sha256, "sha256:" + hex[:12], "scratch", "localhost", "a.b",
		strings.Repeat("a", 128), strings.Repeat("a", 255), strings.Repeat("a", 256), strings.Repeat("a/", 127) + "a",
		strings.Repeat("a/", 130) + "a",
	}
	tails := []string{
		":tag", ":", ":T", ":Tag_1.2-3", ":_", ":-a", ":.a", ":a.", ":a+b", ":a/b", ":a:b", ":" + strings.Repeat("x", 128),
		":" + strings.Repeat("x", 129), ":" + hex, ":\u00e9", ": a", ":a ", "@", "@" + sha256, "@" + sha256[:70], "@" + sha256 + "0",
		"@sha512:" + hex + hex, "@sha384:" + hex + hex[:32], "@SHA256:" + hex, "@sha256:" + strings.ToUpper(hex), "@md5:" + hex[:32],
		"@sha256+b64:" + hex, "@" + hex, ":tag@" + sha256, "@" + sha256 + ":tag", "@" + sha256 + "@" + sha256, "#x", "?x",
	}
	var texts []string
	seen := map[string]bool{}
	add := func(text string) {
		if !seen[text] {
			seen[text] = true
			texts = append(texts, text)
		}
	}
	for _, domain := range domains {
		for _, rest := range []string{"a", "a/b:tag", ""} {
			add(domain + rest)
		}
	}
	for _, path := range paths {
		add(path)
		add("example.com/" + path)
	}
	for _, tail := range tails {
		add("a" + tail)
		add("example.com:5000/a/b" + tail)
	}
	return texts
}

func main() {
	version := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if dependency.Path == "github.com/distribution/reference" {
				version = dependency.Version
			}
		}
	}
	vectors := []vector{}
	for _, text := range inputs() {
		one := vector{Text: text}
		if named, err := reference.ParseNormalizedNamed(text); err == nil {
			one.Parts = &parts{Domain: reference.Domain(named), Path: reference.Path(named)}
			if tagged, ok := named.(reference.Tagged); ok {
				one.Parts.Tag = tagged.Tag()
			}
			if digested, ok := named.(reference.Digested); ok {
				one.Parts.Digest = digested.Digest().String()
			}
		}
		vectors = append(vectors, one)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(map[string]any{"module": "github.com/distribution/reference", "version": version, "vectors": vectors})
}
