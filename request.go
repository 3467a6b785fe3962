package imx

// PlanRequest asks for a plan of a template.
type PlanRequest struct {
	Template Template `json:"template"`
	Lock     *Lock    `json:"lock,omitempty"`   // nil where there is none yet
	Update   bool     `json:"update,omitempty"` // choose anew, whatever the lock says
	// Expect is the Base of the plan that somebody agreed to: an apply is refused with a Conflict if
	// what it would change is no longer what that plan was compared with. "" expects nothing.
	Expect Digest `json:"expect,omitempty"`
	// SkipTests says why an apply releases images without testing them; "" tests them. The log tells it.
	SkipTests string `json:"skipTests,omitempty"`
	// Account is the local account that asks. The server fills it in with what the kernel says: no request can name one.
	Account string `json:"-"`
}

// PlanResult is a plan, the lock that pins it, and what applying it would change.
type PlanResult struct {
	Plan    Plan        `json:"plan"`
	Digest  Digest      `json:"digest"`
	Lock    Lock        `json:"lock"`
	Changes []Change    `json:"changes"` // empty: applying it would do nothing
	Notices Diagnostics `json:"notices,omitempty"`
	// Findings are what the server's rules found in the template, none of which refuses it.
	Findings []Finding `json:"findings,omitempty"`
	// Base names what Changes were compared with: the target and the number of instances of each
	// service of the plan. A rollout that merely finishes doesn't change it.
	Base Digest `json:"base,omitempty"`
}

// ApplyResult is what an apply did.
type ApplyResult struct {
	Apply    string     `json:"apply"`
	Plan     PlanResult `json:"plan"`
	Images   []Image    `json:"images,omitempty"`
	Releases []Release  `json:"releases,omitempty"` // each in its final state: good or failed
	// Origin is where it was good before; nil for what was planned here.
	Origin *Origin `json:"origin,omitempty"`
	// Candidate is what is left where nothing is missing but approvals, or the end of a freeze; then nothing was released. Waits says for which.
	Candidate *Candidate `json:"candidate,omitempty"`
	Waits     string     `json:"waits,omitempty"`
}

// Progress is one line of what is going on in a long task: a step that begins, advances or ends.
type Progress struct {
	Step    string  `json:"step"`              // stable within a task: "build image.web", "fetch"
	Status  string  `json:"status"`            // "running", "done", "cached", "failed"
	Message string  `json:"message,omitempty"` // "unpacking libc6"
	Done    int64   `json:"done,omitempty"`    // of Total, in Unit
	Total   int64   `json:"total,omitempty"`
	Unit    string  `json:"unit,omitempty"`    // "bytes", "packages", "instances"
	Seconds float64 `json:"seconds,omitempty"` // how long the step took, when it has ended
}

// The statuses of Progress.
const (
	StepRunning = "running"
	StepDone    = "done"
	StepCached  = "cached"
	StepFailed  = "failed"
)

// Update is one line of the newline-delimited JSON that a long request answers with: any number
// with Progress, then exactly one with Result or Error.
type Update[T any] struct {
	Progress *Progress `json:"progress,omitempty"`
	Result   *T        `json:"result,omitempty"`
	Error    *Error    `json:"error,omitempty"`
}

// RollbackRequest asks for a service's way back.
type RollbackRequest struct {
	To int `json:"to,omitempty"` // the release's number; 0 means the previous good one
}

// ScaleRequest asks for another number of instances.
type ScaleRequest struct {
	Replicas *int `json:"replicas,omitempty"` // a pointer, so that leaving it out isn't asking for none
	// Auto gives the number back to the service's scale block, in place of Replicas.
	Auto bool `json:"auto,omitempty"`
}

// VerifyRequest asks for a check of the log.
type VerifyRequest struct {
	// Earlier are checkpoints of this log that were kept elsewhere: it must have grown out of each.
	// Only they can show that a whole log was put back to an earlier day, or written anew.
	Earlier []Checkpoint `json:"earlier,omitempty"`
}

// LogOptions choose among the lines that an instance wrote.
type LogOptions struct {
	Follow bool // go on with new lines until the instance has ended
	Tail   int  // only the last so many of those already written; 0 means all
	Times  bool // begin each line with its time (RFC 3339) and "stdout" or "stderr"
}

// Report takes the progress of a long task. It must not block for long and may be called from
// several goroutines at once. A nil Report is not allowed; use func(Progress) {}.
type Report func(Progress)
