package imx

import "time"

// Level is how bad a Finding is or a vulnerability could be. In JSON and on screens it is called severity.
type Level string

// The levels, the worst first.
const (
	Critical Level = "critical"
	High     Level = "high"
	Medium   Level = "medium"
	Low      Level = "low"
)

// Levels are all levels, the worst first.
func Levels() []Level { return []Level{Critical, High, Medium, Low} }

// Rule is something that templates, and files beside them, are checked for. Its ID never changes its meaning.
type Rule struct {
	ID    string `json:"id"` // "root-user"
	Title string `json:"title"`
	// Description says what exactly breaks it.
	Description string   `json:"description,omitempty"`
	Level       Level    `json:"severity"`
	Why         string   `json:"why"` // what could happen
	Fix         string   `json:"fix"` // what to write instead
	Links       []string `json:"links,omitempty"`
	// From is who wrote it: "imx", "trivy-checks", "gitleaks", or the folder of the user's own.
	From string `json:"from"`
}

// Finding is one place that breaks a Rule.
type Finding struct {
	Rule    string  `json:"rule"` // Rule.ID
	Level   Level   `json:"severity"`
	Message string  `json:"message"`           // one sentence, no full stop: what, and which thing
	Fix     string  `json:"fix,omitempty"`     // what to write here instead; "" means the rule's
	Subject string  `json:"subject,omitempty"` // the block: "service.web"; "" for a file that isn't a template
	At      Pos     `json:"at,omitzero"`
	Source  string  `json:"source,omitempty"` // the line that At points into, with secrets blotted out
	Waived  *Waiver `json:"waived,omitempty"` // the waiver that excuses it
}

// Waiver is a waiver block of a template: it excuses findings of one rule, for a reason, until a day.
type Waiver struct {
	Rule   string    `json:"rule"`
	For    []string  `json:"for,omitempty"` // subjects or files; none means all of the template
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"` // the first moment (UTC) when it no longer counts
	At     Pos       `json:"at,omitzero"`
}
