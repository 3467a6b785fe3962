package imx

// Test is a test block of a template: an instance is started from the built image, asked, and ended. What every
// image is tested for without a word (Refusals) isn't in it.
type Test struct {
	Name string `json:"name"`
	// Service is the one whose instance is asked. It runs as its service block says, with an address of its
	// own that nothing else reaches; volumes are empty. Exactly one of Service and Image is set.
	Service string `json:"service,omitempty"`
	// Image is the one that an instance without ports, files and volumes is started of.
	Image string `json:"image,omitempty"`
	// Alone says that the services which Service connects to aren't started with it.
	Alone   bool     `json:"alone,omitempty"`
	Timeout Duration `json:"timeout"` // for all of the test, from the start of its first instance

	HTTP      []HTTPTest    `json:"http,omitempty"`
	TCP       []TCPTest     `json:"tcp,omitempty"`
	Commands  []CommandTest `json:"commands,omitempty"`
	Files     []FileTest    `json:"files,omitempty"`
	Processes []ProcessTest `json:"processes,omitempty"`
	// Listens are all the TCP ports that the instance's processes may listen on: others are a failure, and
	// so is one that is missing. None means that it isn't asked.
	Listens []int `json:"listens,omitempty"`
	// User is who every process must run as: a name or a uid; "" means that it isn't asked.
	User   string  `json:"user,omitempty"`
	Cannot *Cannot `json:"cannot,omitempty"`
	At     Pos     `json:"at,omitzero"`
}

// Empty reports whether the test checks nothing.
func (t Test) Empty() bool {
	return len(t.HTTP)+len(t.TCP)+len(t.Commands)+len(t.Files)+len(t.Processes)+len(t.Listens) == 0 && t.User == "" && t.Cannot == nil
}

// HTTPTest passes when a request is answered as it says. It is asked again for some seconds after the instance became
// healthy: what stands behind it may be getting ready.
type HTTPTest struct {
	Name     string            `json:"name"`
	Port     string            `json:"port"`   // name of a Port
	Method   string            `json:"method"` // "GET"
	Path     string            `json:"path"`
	Headers  map[string]string `json:"headers,omitempty"` // sent
	Body     string            `json:"body,omitempty"`    // sent
	Status   int               `json:"status"`            // 0 means any from 200 to 399
	Contains string            `json:"contains,omitempty"`
	Matches  string            `json:"matches,omitempty"` // RE2 regular expression, of the body
	At       Pos               `json:"at,omitzero"`
}

// TCPTest passes when a port takes a connection and answers what is sent as it says.
type TCPTest struct {
	Name     string `json:"name"`
	Port     string `json:"port"`
	Send     string `json:"send,omitempty"`
	Contains string `json:"contains,omitempty"` // "" means that a connection is enough
	At       Pos    `json:"at,omitzero"`
}

// CommandTest passes when a program ends as it says. It runs beside the instance, in its namespaces and as its user. It
// is one that the image has, or with Packages one of them: then it sees the image's Kit as its root, and the instance doesn't.
type CommandTest struct {
	Name    string   `json:"name"`
	Command []string `json:"command"`
	// Packages are there for this command alone, never in the image: as ImageSpec.Packages, from the image's archives.
	Packages []string `json:"packages,omitempty"`
	// PackagesAt are the places of Packages in the same order, or nil where they aren't known.
	PackagesAt []Pos `json:"packagesAt,omitempty"`

	Exit     int    `json:"exit"`
	Contains string `json:"contains,omitempty"` // in what it writes, on standard output or error
	Matches  string `json:"matches,omitempty"`
	At       Pos    `json:"at,omitzero"`
}

// FileTest passes when a path of the instance's file system is as it says.
type FileTest struct {
	Path     string `json:"path"`
	Absent   bool   `json:"absent,omitempty"` // it must not be there; nothing else is then asked
	Mode     Mode   `json:"mode,omitempty"`   // 0 means any
	Owner    string `json:"owner,omitempty"`  // name or uid; "" means any
	Contains string `json:"contains,omitempty"`
	At       Pos    `json:"at,omitzero"`
}

// ProcessTest passes when so many processes run a program.
type ProcessTest struct {
	Program string `json:"program"` // the executable's path, or its last part
	Least   int    `json:"least"`
	Most    *int   `json:"most,omitempty"` // nil means any number; with 0 none may run
	User    string `json:"user,omitempty"` // whom all of them run as
	At      Pos    `json:"at,omitzero"`
}

// Cannot is what must fail in an instance, beyond Refusals.
type Cannot struct {
	Connect []string `json:"connect,omitempty"` // "host:port" of a service or an address that others reach, and it doesn't
	Write   []string `json:"write,omitempty"`   // paths that can't be written to, nor made
	Run     []string `json:"run,omitempty"`     // programs of the image that can't be run, or aren't there
}

// Refusal is something that no instance may be able to do. Each image is tested for all of them.
type Refusal string

// The refusals.
const (
	RefuseWriteRoot  Refusal = "write-root"       // write to its root file system
	RefuseForeign    Refusal = "run-foreign"      // run a program that isn't in its image
	RefuseAddress    Refusal = "reach-undeclared" // reach an address that it doesn't connect to
	RefusePrivileges Refusal = "gain-privileges"  // get a capability, another user or a namespace
)

// Refusals are all refusals.
func Refusals() []Refusal {
	return []Refusal{RefuseWriteRoot, RefuseForeign, RefuseAddress, RefusePrivileges}
}

// TestResult is how one test of an image went.
type TestResult struct {
	Test    string      `json:"test"` // Test.Name; "refusals" for what every image is tested for
	Image   Digest      `json:"image"`
	Service string      `json:"service,omitempty"`
	Passed  bool        `json:"passed"`
	Checks  []TestCheck `json:"checks"`
	Seconds float64     `json:"seconds"`
	Logs    []string    `json:"logs,omitempty"` // of a failed test: the instance's last lines
	At      Pos         `json:"at,omitzero"`
}

// TestCheck is one thing that a test asked.
type TestCheck struct {
	Name   string `json:"name"`  // `http "home"`
	Asked  string `json:"asked"` // "GET http://10.212.0.9:8080/ is answered 200"
	Got    string `json:"got"`   // "200 OK", or what came instead, cut to a bounded length
	Passed bool   `json:"passed"`
	Output string `json:"output,omitempty"` // what a command wrote, or an answer's body, cut to a bounded length
	At     Pos    `json:"at,omitzero"`
}

// TestsSkipped says that somebody had an apply release images whose tests weren't asked for, and why.
type TestsSkipped struct {
	Apply  string `json:"apply"`
	Reason string `json:"reason"`
}

func (TestsSkipped) kind() string { return "tests-skipped" }

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
