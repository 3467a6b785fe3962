// Package probe is a program that is run as an instance and tries, for real, what no instance may be able to do. It
// holds only what an instance with nothing but its image can reach; who runs it decides what the answers mean.
package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"imx"
)

// Word is the argument that makes imx this program.
const Word = "imx-probe"

// Task is what to try.
type Task struct {
	// Serve makes it a bait: it answers on TCP and UDP port BaitPort until it is ended, and tries nothing.
	Serve bool `json:"serve,omitempty"`
	// Refusals says that what no instance may do is tried.
	Refusals bool `json:"refusals,omitempty"`
	// Reach are addresses, "host:port", that it must not reach.
	Reach []string `json:"reach,omitempty"`
	// Cannot is tried beyond that.
	Cannot imx.Cannot `json:"cannot,omitzero"`
}

// BaitPort is where a bait answers.
const BaitPort = 7777

// Args are the arguments that make imx try a task.
func (t Task) Args() []string {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings and truths can be written as JSON
	}
	return []string{Word, string(b)}
}

// Attempt is one thing that was tried.
type Attempt struct {
	Refusal imx.Refusal `json:"refusal,omitempty"` // "" for one of Task.Cannot
	Tried   string      `json:"tried"`             // "make the file /etc/imx-probe"
	Got     string      `json:"got"`               // "read-only file system"
	Refused bool        `json:"refused"`
}

// Done is the last line of what it writes: without it the attempts aren't all.
const Done = `{"done":true}`

// Main runs the program with the arguments after Word, writes each attempt as a line of JSON, and returns its exit status.
func Main(ctx context.Context, args []string, out io.Writer) int {
	var task Task
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &task) != nil {
		_, _ = fmt.Fprintln(out, "imx runs this by itself, to test images")
		return 2
	}
	if task.Serve {
		return serve(ctx, out)
	}
	lines := json.NewEncoder(out)
	for _, a := range attempts(ctx, task) {
		if err := lines.Encode(a); err != nil {
			return 1
		}
	}
	if _, err := fmt.Fprintln(out, Done); err != nil {
		return 1
	}
	return 0
}

// attempts tries everything: what may take its time to be refused, beside the rest.
func attempts(ctx context.Context, t Task) []Attempt {
	asked := make([]func() Attempt, 0, 2*len(t.Reach)+len(t.Cannot.Connect))
	for _, address := range t.Reach {
		for _, network := range []string{"tcp4", "udp4"} {
			asked = append(asked, func() Attempt { return under(imx.RefuseAddress, connect(ctx, network, address)) })
		}
	}
	for _, address := range t.Cannot.Connect {
		asked = append(asked, func() Attempt { return connect(ctx, "tcp4", address) })
	}
	answers := make([]Attempt, len(asked))
	var group sync.WaitGroup
	for i, ask := range asked {
		group.Go(func() { answers[i] = ask() })
	}
	all := local(t)
	group.Wait()
	return append(all, answers...)
}

// local tries what needs no answer from elsewhere.
func local(t Task) []Attempt {
	var all []Attempt
	if t.Refusals {
		all = append(all, writeRoot()...)
		all = append(all, runForeign()...)
		all = append(all, gainPrivileges()...)
	}
	for _, path := range t.Cannot.Write {
		all = append(all, write(path))
	}
	for _, program := range t.Cannot.Run {
		all = append(all, run(program))
	}
	return all
}

func under(r imx.Refusal, a Attempt) Attempt {
	a.Refusal = r
	return a
}

// tried is an attempt that is refused if there was an error.
func tried(what string, err error) Attempt {
	if err != nil {
		return Attempt{Tried: what, Got: err.Error(), Refused: true}
	}
	return Attempt{Tried: what, Got: "it can"}
}

// Read reads what Main wrote, and says whether it is whole.
func Read(r io.Reader) (list []Attempt, whole bool) {
	lines := json.NewDecoder(r)
	for {
		var line struct {
			Attempt
			Done bool `json:"done"`
		}
		if err := lines.Decode(&line); err != nil {
			return list, false
		}
		if line.Done {
			return list, true
		}
		list = append(list, line.Attempt)
	}
}
