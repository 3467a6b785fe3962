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
}

// TestRequest asks for the tests of a template's images.
type TestRequest struct {
	PlanRequest

	// Only are names of tests and services; with any, only those tests, and those of these services, are run.
	Only  []string `json:"only,omitempty"`
	Again bool     `json:"again,omitempty"` // what passed already, too
}

// TestReport is what came of tests. One that failed is told by its result, not by an error.
type TestReport struct {
	Plan    PlanResult   `json:"plan"`
	Images  []Image      `json:"images"`
	Results []TestResult `json:"results"` // the refusals first, then in the order of the template
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
	Replicas *int `json:"replicas"` // a pointer, so that leaving it out isn't asking for none
}

// CollectRequest asks for the removal of what nothing needs any more.
type CollectRequest struct {
	DryRun DryRun `json:"dryRun,omitempty"`
	// Grace is for how long what was just made stays, needed or not; nil means a day.
	Grace *Duration `json:"grace,omitempty"`
}

// DryRun says that something is only to be told, not done.
type DryRun bool

// Collection is what nothing needed any more, and was removed unless DryRun says otherwise.
type Collection struct {
	DryRun DryRun          `json:"dryRun,omitempty"`
	Things int             `json:"things"`
	Size   Size            `json:"size"`  // on the disk
	Kinds  []CollectedKind `json:"kinds"` // the largest first
}

// CollectedKind is one kind of what was removed: "blob", "unpacked", "base".
type CollectedKind struct {
	Kind   string `json:"kind"`
	Things int    `json:"things"`
	Size   Size   `json:"size"`
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
