package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
)

// release is a published archive of ONNX Runtime that a target of the Dockerfile has.
type release struct {
	target  string // cpu or gpu
	name    string // of the archive
	version string
	sha256  string // of the archive, in hex
}

var releaseLine = regexp.MustCompile(`^([0-9a-f]{64})  (onnxruntime-linux-x64(-gpu_cuda[0-9]+)?-([0-9.]+)\.tgz)$`)

func readReleases(name string) (list []release, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		m := releaseLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			return nil, fmt.Errorf("%s: %q is no archive and its SHA-256", name, line)
		}
		r := release{target: "cpu", name: m[2], version: m[4], sha256: m[1]}
		if m[3] != "" {
			r.target = "gpu"
		}
		list = append(list, r)
	}
	return list, nil
}

// component is the release as a line of the bill.
func (r release) component() cyclonedx.Component {
	return cyclonedx.Component{
		BOMRef:     "onnxruntime",
		Type:       cyclonedx.ComponentTypeLibrary,
		Supplier:   &cyclonedx.OrganizationalEntity{Name: "Microsoft"},
		Name:       "onnxruntime",
		Version:    r.version,
		PackageURL: "pkg:github/microsoft/onnxruntime@v" + r.version,
		Hashes:     &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: r.sha256}},
		Licenses:   licenceChoice([]string{"MIT"}),
		Description: "Loaded at run time from /opt/onnxruntime, where its licence and those of what it contains lie too. " +
			"The hash is that of the archive " + r.name + ".",
	}
}

// bill lists what one target of the image has over its base: the program, the modules that it is linked from, and ONNX Runtime.
// What the distribution brings, ffmpeg above all, is in dpkg's own list, which scanners of images read.
func bill(p program, version string, modules []module, onnx release) *cyclonedx.BOM {
	sums := map[string]string{}
	for _, d := range p.info.Deps {
		sums[d.Path] = d.Sum
	}
	var components []cyclonedx.Component
	var refs []string
	for _, m := range modules {
		components = append(components, m.component(sums[m.path]))
	}
	components = append(components, onnx.component())
	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}
	main := cyclonedx.Component{
		BOMRef:     "humo-worker",
		Type:       cyclonedx.ComponentTypeApplication,
		Name:       "humo-worker",
		Version:    version,
		PackageURL: "pkg:golang/" + p.info.Main.Path + "@" + version,
		Hashes:     &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: p.sha256}},
		Licenses:   licenceChoice([]string{"Apache-2.0"}),
		Properties: settings(p.info),
	}
	return &cyclonedx.BOM{
		BOMFormat:    cyclonedx.BOMFormat,
		Version:      1,
		Metadata:     &cyclonedx.Metadata{Component: &main},
		Components:   &components,
		Dependencies: &[]cyclonedx.Dependency{{Ref: main.BOMRef, Dependencies: &refs}},
	}
}

// component is the module as a line of the bill. Go's own checksum ("h1:" in go.sum) is a SHA-256 over the names and hashes of
// the module's files; the bill holds it as such, in hex, as other makers of bills for Go do.
func (m module) component(sum string) cyclonedx.Component {
	c := cyclonedx.Component{
		BOMRef:     "pkg:golang/" + m.path + "@" + m.version,
		Type:       cyclonedx.ComponentTypeLibrary,
		Name:       m.path,
		Version:    m.version,
		PackageURL: "pkg:golang/" + m.path + "@" + m.version,
	}
	if raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sum, "h1:")); err == nil && len(raw) == sha256.Size {
		c.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(raw)}}
	}
	if ids, err := m.licences(); err == nil {
		c.Licenses = licenceChoice(ids)
	}
	return c
}

func licenceChoice(ids []string) *cyclonedx.Licenses {
	list := make(cyclonedx.Licenses, len(ids))
	for i, id := range ids {
		list[i].License = &cyclonedx.License{ID: id}
	}
	return &list
}

// settings are those of the build that are in the binary, in its order.
func settings(info *debug.BuildInfo) *[]cyclonedx.Property {
	list := []cyclonedx.Property{{Name: "go:version", Value: info.GoVersion}}
	for _, s := range info.Settings {
		list = append(list, cyclonedx.Property{Name: "go:build:" + s.Key, Value: s.Value})
	}
	return &list
}

// encode writes the bill as JSON of version 1.6 of the standard, which scanners of 2024 and later read.
func encode(w io.Writer, b *cyclonedx.BOM) error {
	return cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(b, cyclonedx.SpecVersion1_6)
}

func hashFile(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close() //nolint:errcheck // only read
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
