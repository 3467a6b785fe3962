package vuln

import (
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/purl"
)

// VEX is an OpenVEX document (https://github.com/openvex/spec, v0.2.0).
type VEX struct {
	Context    string         `json:"@context"`
	ID         string         `json:"@id"`
	Author     string         `json:"author"`
	Timestamp  time.Time      `json:"timestamp"`
	Updated    time.Time      `json:"last_updated,omitzero"`
	Version    int            `json:"version"`
	Tooling    string         `json:"tooling,omitempty"`
	Statements []VEXStatement `json:"statements"`
}

// VEXContext is what every document's context begins with.
const VEXContext = "https://openvex.dev/ns"

// VEXStatement says how a vulnerability affects products.
type VEXStatement struct {
	Vulnerability VEXVulnerability `json:"vulnerability"`
	Products      []VEXProduct     `json:"products"`
	Status        string           `json:"status"`
	Justification string           `json:"justification,omitempty"`
	Impact        string           `json:"impact_statement,omitempty"`
	Action        string           `json:"action_statement,omitempty"`
	Timestamp     time.Time        `json:"timestamp,omitzero"`
}

// VEXVulnerability names a vulnerability.
type VEXVulnerability struct {
	ID      string   `json:"@id,omitempty"`
	Name    string   `json:"name"`
	Aliases []string `json:"aliases,omitempty"`
}

// VEXProduct is an image or a package, or packages in an image.
type VEXProduct struct {
	VEXComponent

	Subcomponents []VEXComponent `json:"subcomponents,omitempty"`
}

// VEXComponent names a piece of software.
type VEXComponent struct {
	ID          string            `json:"@id,omitempty"`
	Identifiers map[string]string `json:"identifiers,omitempty"` // "purl"
	Hashes      map[string]string `json:"hashes,omitempty"`      // "sha-256"
}

const (
	maxVEX        = 64 << 20
	maxStatements = 500_000
)

// Justifications are OpenVEX's reasons for "not_affected".
func Justifications() []string {
	return []string{
		"component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path",
		"vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist",
	}
}

// ParseVEX reads one OpenVEX document. Errors: Refused for anything else, and for a statement without a vulnerability,
// products, a known status, or without a reason where it says "not_affected".
func ParseVEX(r io.Reader) (VEX, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxVEX+1))
	if err != nil {
		return VEX{}, err
	}
	if len(raw) > maxVEX {
		return VEX{}, refused("it has more than %s", imx.Size(maxVEX))
	}
	var d VEX
	if err := json.Unmarshal(raw, &d); err != nil {
		return VEX{}, refused("it is no OpenVEX document: %w", err)
	}
	if !strings.HasPrefix(d.Context, VEXContext) {
		return VEX{}, refused("its @context is %s, not that of OpenVEX", clip(d.Context))
	}
	if len(d.Statements) == 0 || len(d.Statements) > maxStatements {
		return VEX{}, refused("it has %d statements", len(d.Statements))
	}
	for i := range d.Statements {
		if d.Statements[i].Timestamp.IsZero() {
			d.Statements[i].Timestamp = cmpTime(d.Updated, d.Timestamp)
		}
		if err := d.Statements[i].check(); err != nil {
			return VEX{}, refused("statement %d: %w", i+1, err)
		}
	}
	return d, nil
}

func cmpTime(first, second time.Time) time.Time {
	if first.IsZero() {
		return second
	}
	return first
}

func (s *VEXStatement) check() error {
	texts := []string{s.Vulnerability.Name, s.Vulnerability.ID, s.Status, s.Justification}
	switch {
	case s.Vulnerability.Name == "" && s.Vulnerability.ID == "" || slices.ContainsFunc(texts, isOdd):
		return refused("it names no vulnerability")
	case len(s.Products) == 0:
		return refused("it names no product")
	case !slices.Contains([]string{"not_affected", "affected", "fixed", "under_investigation"}, s.Status):
		return refused("its status is %s", clip(s.Status))
	case s.Justification != "" && !slices.Contains(Justifications(), s.Justification):
		return refused("its justification is %s", clip(s.Justification)).WithHint("one of %s", strings.Join(Justifications(), ", "))
	case s.Status == "not_affected" && s.Justification == "" && strings.TrimSpace(s.Impact) == "":
		return refused("it says not_affected without saying why").WithHint("give it a justification or an impact_statement")
	}
	return nil
}

// Plea is a document with where it came from.
type Plea struct {
	From string
	VEX  VEX
}

// Reason is why vulnerabilities don't affect an image.
type Reason struct {
	IDs           []string
	Justification string
	Because       string
	By            string
	Time          time.Time
}

// State adds a statement to an image's document, which is new where earlier is nil. What the document said before of
// the same vulnerabilities goes. Errors: Invalid for a reason that is none, and for what can't be a vulnerability's name.
func State(earlier *VEX, name string, image imx.Digest, why Reason) (VEX, error) {
	var err error
	ids := make([]string, len(why.IDs))
	for i, id := range why.IDs {
		if ids[i], err = ParseID(id); err != nil {
			return VEX{}, err
		}
	}
	d := VEX{Context: VEXContext + "/v0.2.0", ID: "urn:imx:vex:" + image.Hex(), Timestamp: why.Time, Tooling: "imx"}
	if earlier != nil {
		d = *earlier
		d.Statements = slices.DeleteFunc(slices.Clone(d.Statements), func(s VEXStatement) bool {
			return slices.ContainsFunc(ids, func(id string) bool { return strings.EqualFold(id, s.Vulnerability.Name) })
		})
	}
	d.Author, d.Updated, d.Version = why.By, why.Time, d.Version+1
	for _, id := range ids {
		s := VEXStatement{
			Vulnerability: VEXVulnerability{Name: id}, Status: "not_affected", Justification: why.Justification, Impact: why.Because, Timestamp: why.Time,
			Products: []VEXProduct{{VEXComponent: VEXComponent{
				ID: purl.Image(name, image).String(), Hashes: map[string]string{"sha-256": image.Hex()},
			}}},
		}
		if err := s.check(); err != nil {
			e := imx.AsError(err)
			e.Kind = imx.Invalid
			return VEX{}, e
		}
		d.Statements = append(d.Statements, s)
	}
	slices.SortFunc(d.Statements, func(a, b VEXStatement) int { return cmp.Compare(a.Vulnerability.Name, b.Vulnerability.Name) })
	return d, nil
}
