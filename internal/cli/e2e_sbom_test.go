package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"imx"
)

// validSBOM returns the command "valid spdx|cyclonedx FILE", which holds a document against its form's official
// schema.
func validSBOM(t *testing.T) func(ts *testscript.TestScript, neg bool, args []string) {
	t.Helper()
	module, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	own, err := filepath.Abs("../sbom/testdata/spdx-2.3.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	const cyclonedx = "http://cyclonedx.org/schema/"
	folder := filepath.Join(strings.TrimSpace(string(module)), "schema")
	files := map[string]string{
		"http://spdx.test/spdx":            own,
		cyclonedx + "bom-1.6.schema.json":  filepath.Join(folder, "bom-1.6.schema.json"),
		cyclonedx + "spdx.schema.json":     filepath.Join(folder, "spdx.schema.json"),
		cyclonedx + "jsf-0.82.schema.json": filepath.Join(folder, "jsf-0.82.schemax.json"), // as the module calls it
	}
	names := map[string]string{"spdx": "http://spdx.test/spdx", "cyclonedx": cyclonedx + "bom-1.6.schema.json"}
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 2 || names[args[0]] == "" {
			ts.Fatalf("usage: valid spdx|cyclonedx FILE")
		}
		c := jsonschema.NewCompiler()
		for name, file := range files {
			raw, err := os.ReadFile(file)
			ts.Check(err)
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
			ts.Check(err)
			ts.Check(c.AddResource(name, doc))
		}
		schema, err := c.Compile(names[args[0]])
		ts.Check(err)
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(ts.ReadFile(args[1])))
		ts.Check(err)
		ts.Check(schema.Validate(doc))
	}
}

// changeLayer FILE changes one byte of the first layer of the image that FILE is `imx image show --json` of.
func changeLayer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: changelayer FILE")
	}
	var shown imx.ImageDetail
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &shown))
	changeBlob(ts, shown.Layers[0].Digest)
}

// changeEvidence FILE changes one byte of each statement that FILE is `imx image evidence --json` of.
func changeEvidence(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: changeevidence FILE")
	}
	var all []imx.Evidence
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &all))
	for _, e := range all {
		changeBlob(ts, e.Bundle)
	}
}

func changeBlob(ts *testscript.TestScript, d imx.Digest) {
	hex := d.Hex()
	path := filepath.Join(ts.Getenv("IMX_DATA"), "blobs", "sha256", hex[:2], hex)
	raw, err := os.ReadFile(path)
	ts.Check(err)
	raw[len(raw)/2] ^= 1
	ts.Check(os.Remove(path))
	ts.Check(os.WriteFile(path, raw, 0o400))
}
