package imx

// Repro says whether an image came out the same when it was built a second time, from nothing but
// its packages and the template's files.
type Repro struct {
	Image Image `json:"image"` // as it was built first
	Again Image `json:"again"` // as it was built the second time
	// Differences are the first of them, sorted by path. There may be none though the bytes differ: then
	// the same files were packed or described differently.
	Differences []PathDifference `json:"differences,omitempty"`
	More        int              `json:"more,omitempty"` // how many further ones there are
}

// Same reports whether both builds gave the same bytes: layers, configuration, root and inventory.
func (r Repro) Same() bool { return r.Image == r.Again }

// PathDifference is one thing in which a path of one build differs from that of another.
type PathDifference struct {
	Path string     `json:"path"` // absolute
	What PathAspect `json:"what"`
	// Line counts from 1 and is the first that differs in a text; 0 for everything but contents of texts.
	Line int `json:"line,omitempty"`
	// Offset counts bytes from 0 to the first that differs in a content.
	Offset int64  `json:"offset,omitempty"`
	First  string `json:"first,omitempty"` // what the first build has: the mode, the line
	Second string `json:"second,omitempty"`
}

// PathAspect is what differs of a path.
type PathAspect string

// The aspects of a path.
const (
	AspectMissing      PathAspect = "missing" // one build doesn't have the path: First or Second is "missing"
	AspectKind         PathAspect = "kind"
	AspectContent      PathAspect = "content"
	AspectTarget       PathAspect = "target" // of a symbolic link
	AspectMode         PathAspect = "mode"
	AspectOwner        PathAspect = "owner"
	AspectTime         PathAspect = "time"
	AspectCapabilities PathAspect = "capabilities"
)

// ReproResult is what building a template's images twice found.
type ReproResult struct {
	Plan   PlanResult `json:"plan"`
	Images []Repro    `json:"images"` // in the plan's order
}
