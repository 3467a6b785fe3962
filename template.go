package imx

// Template is what a person wrote: one folder of HCL files, read and checked, with every file()
// content in it, so that nothing outside is needed any more.
type Template struct {
	Source   Source      `json:"source"`
	Archives []Archive   `json:"archives,omitempty"`
	Images   []ImageSpec `json:"images,omitempty"`
	Services []Spec      `json:"services,omitempty"`
	// Notices say what was inferred because the template left it open; they are shown, never dropped.
	Notices Diagnostics `json:"notices,omitempty"`
}

// Source is where a template came from. Commit is empty for a folder that isn't in Git.
type Source struct {
	Commit string `json:"commit,omitempty"` // full Git object name
	Dirty  bool   `json:"dirty,omitempty"`  // the folder differed from the commit
	Folder string `json:"folder,omitempty"` // the folder's path inside its repository, or its base name
}

// String returns the short commit, with "+changes" where the folder was dirty.
func (s Source) String() string {
	switch {
	case s.Commit == "":
		return "not in Git"
	case s.Dirty:
		return s.Commit[:min(12, len(s.Commit))] + "+changes"
	}
	return s.Commit[:min(12, len(s.Commit))]
}

// HostArchive is the name of the archive that is there without being declared: the host's own
// apt sources, as far as Debian's keyring signs them.
const HostArchive = "host"

// Archive is a signed Debian archive to take packages from.
type Archive struct {
	Name       string   `json:"name"`
	Mirror     string   `json:"mirror,omitempty"`     // http(s) or file URL; "" means the host's mirrors
	Suites     []string `json:"suites,omitempty"`     // empty means those of the host's sources
	Components []string `json:"components,omitempty"` // empty means main
	Keyring    []byte   `json:"keyring,omitempty"`    // OpenPGP public keys; empty means Debian's keyring
	At         Pos      `json:"at,omitzero"`
}

// File is a file that a template puts somewhere. In a Template, Content holds the bytes; in a
// Plan and a Release only Digest and Size do, the bytes being in the blob store.
type File struct {
	Path    string `json:"path"`            // absolute, clean
	Mode    Mode   `json:"mode,omitempty"`  // 0 means 0644
	Owner   string `json:"owner,omitempty"` // user name in the image; "" means root
	Digest  Digest `json:"digest"`
	Size    int64  `json:"size"`
	Content []byte `json:"content,omitempty"`
	At      Pos    `json:"at,omitzero"`
}

// Directory is an empty directory that a template asks for.
type Directory struct {
	Path  string `json:"path"`
	Mode  Mode   `json:"mode,omitempty"`  // 0 means 0755
	Owner string `json:"owner,omitempty"` // "" means root
	At    Pos    `json:"at,omitzero"`
}

// ImageSpec is an image block of a template.
type ImageSpec struct {
	Name        string            `json:"name"`
	From        string            `json:"from,omitempty"`     // name of an Archive; "" means HostArchive
	Packages    []string          `json:"packages,omitempty"` // "name" or "name=version"
	Files       []File            `json:"files,omitempty"`
	Directories []Directory       `json:"directories,omitempty"`
	User        string            `json:"user,omitempty"` // user name or "uid[:gid]"; "" means root
	Command     []string          `json:"command,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
	WorkDir     string            `json:"workDir,omitempty"`
	StopSignal  string            `json:"stopSignal,omitempty"` // "" means SIGTERM
	// Setuid names the files that may keep their setuid or setgid bit; the bit is taken off all others.
	Setuid []string `json:"setuid,omitempty"`
	// Generated names further paths (globs) that maintainer scripts make and the image takes.
	Generated []string `json:"generated,omitempty"`
	At        Pos      `json:"at,omitzero"`
}

// PortRef names a port of a service, as service.db.port.pg does in a template.
type PortRef struct {
	Service string `json:"service"`
	Port    string `json:"port"`
	At      Pos    `json:"at,omitzero"`
}

// Spec is a service block of a template: all that is the same for each of its instances.
type Spec struct {
	Name        string            `json:"name"`
	Image       string            `json:"image"` // name of an ImageSpec
	Replicas    int               `json:"replicas"`
	Command     []string          `json:"command,omitempty"`     // empty means the image's
	Environment map[string]string `json:"environment,omitempty"` // laid over the image's
	Files       []File            `json:"files,omitempty"`
	Tmpfs       []Tmpfs           `json:"tmpfs,omitempty"`
	Volumes     []Volume          `json:"volumes,omitempty"`
	Ports       []Port            `json:"ports,omitempty"`
	Connect     []PortRef         `json:"connect,omitempty"`
	Health      Health            `json:"health"`
	Resources   Resources         `json:"resources"`
	Drain       Duration          `json:"drain"`    // how long an instance without traffic may finish what it began
	Grace       Duration          `json:"grace"`    // from the stop signal to SIGKILL
	Deadline    Duration          `json:"deadline"` // by when a new release must be healthy, or it failed
	At          Pos               `json:"at,omitzero"`
}

// Exclusive reports whether only one instance may run at a time: a volume has one holder.
// Such a service is replaced stop-then-start and can't have more than one replica.
func (s Spec) Exclusive() bool { return len(s.Volumes) > 0 }

// Port is a port that a service listens on (TCP).
type Port struct {
	Name      string `json:"name"`
	Container int    `json:"container"`         // the port inside the instance
	Publish   int    `json:"publish,omitempty"` // the port on the machine's own addresses; 0 means none
	At        Pos    `json:"at,omitzero"`
}

// Tmpfs is a writable directory in memory that ends with its instance.
type Tmpfs struct {
	Path  string `json:"path"`
	Size  Size   `json:"size"`
	Mode  Mode   `json:"mode,omitempty"` // 0 means 0700 owned by the image's user, 1777 for /tmp
	Owner string `json:"owner,omitempty"`
	At    Pos    `json:"at,omitzero"`
}

// Volume is a named directory that outlives instances. It belongs to its service.
type Volume struct {
	Name  string `json:"name"`
	Path  string `json:"path"`
	Owner string `json:"owner,omitempty"` // "" means the image's user
	At    Pos    `json:"at,omitzero"`
}

// Health is how an instance is asked whether it can take traffic. Exactly one of HTTP and TCP is
// set; neither is set only for a service without ports, which is healthy while its process runs.
type Health struct {
	Every    Duration   `json:"every"`
	Timeout  Duration   `json:"timeout"`
	Failures int        `json:"failures"` // so many failed checks in a row make it unhealthy
	HTTP     *HTTPCheck `json:"http,omitempty"`
	TCP      *TCPCheck  `json:"tcp,omitempty"`
	Inferred bool       `json:"inferred,omitempty"` // the template had none; the plan says so
}

// HTTPCheck passes when a GET of Path on Port answers Status.
type HTTPCheck struct {
	Port   string `json:"port"` // name of a Port
	Path   string `json:"path"`
	Status int    `json:"status"` // 0 means any from 200 to 399
}

// TCPCheck passes when Port accepts a connection.
type TCPCheck struct {
	Port string `json:"port"`
}

// Resources are an instance's limits; zero means imx's default, never "no limit".
type Resources struct {
	CPU    float64 `json:"cpu,omitempty"`    // cores
	Memory Size    `json:"memory,omitempty"` // bytes
	Pids   int     `json:"pids,omitempty"`   // processes and threads
}
