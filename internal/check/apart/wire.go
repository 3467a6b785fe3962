//go:build !client

package apart

import (
	"encoding/json"
	"time"

	"imx"
	"imx/internal/check"
)

// opening is the first thing that the process is told.
type opening struct {
	From    string         `json:"from"`
	Modules []check.Module `json:"modules"`
	Limits  Limits         `json:"limits"`
}

// question is a document.
type question struct {
	Input any       `json:"input"`
	Now   time.Time `json:"now"`
}

// answer is one of three: that a rule is being asked, why that failed, or what all rules found. A finding's way is in it as its
// subject, because only who asks knows the places.
type answer struct {
	Asked    *asked        `json:"asked,omitempty"`
	Error    *imx.Error    `json:"error,omitempty"`
	Findings []imx.Finding `json:"findings,omitempty"`
}

type asked struct {
	ID string  `json:"id"`
	At imx.Pos `json:"at"`
}

// maxAnswer bounds what the process may say to one document: 1000 findings of each rule, in words.
const maxAnswer = 16 << 20

// sealed writes a way as a subject, opened reads it.
func sealed(way []string) (string, imx.Pos) {
	b, err := json.Marshal(way)
	if err != nil {
		panic("apart: a list of strings is JSON: " + err.Error())
	}
	return string(b), imx.Pos{}
}

func opened(subject string) ([]string, error) {
	var way []string
	err := json.Unmarshal([]byte(subject), &way)
	return way, err
}
