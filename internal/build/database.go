package build

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"imx/internal/deb"
)

// databaseDir is where dpkg's database is in a root.
const databaseDir = "var/lib/dpkg"

// database is dpkg's in a root in which no dpkg runs at the moment. Packages are added as dpkg --unpack
// would: new, unpacked, none of their scripts run.
type database struct {
	x         *extractor
	installed []*parcel // what is there already
	accounts  bool      // the root has users that owners may be meant by
	// What scripts said about paths: where a file of another package goes. fixed has the paths of these
	// and of overrides of owner and mode.
	diversions deb.Diversions
	fixed      map[string]bool
	interests  map[string][]string // packages that wait for changes below a path
	stanzas    bytes.Buffer
	pending    map[string]map[string]bool // by trigger, the packages that await it; "-" for none
}

// openDatabase reads what decides how packages are unpacked over the root.
func openDatabase(x *extractor) (*database, error) {
	db := &database{
		x: x, fixed: map[string]bool{},
		interests: map[string][]string{}, pending: map[string]map[string]bool{},
	}
	var err error
	if db.accounts, err = x.exists("etc/passwd"); err != nil {
		return nil, err
	}
	return db, inOrder(db.readStatus, db.readDiversions, db.readOverrides, db.readInterests)
}

func (db *database) readStatus() error {
	status, err := db.x.read(databaseDir + "/status")
	if err != nil {
		return err
	}
	for stanza := range bytes.SplitSeq(bytes.TrimSpace(status), []byte("\n\n")) {
		if len(stanza) == 0 {
			continue
		}
		p, err := parseParcel(stanza, "dpkg's status")
		if err != nil {
			return err
		}
		db.installed = append(db.installed, p)
	}
	return nil
}

func (db *database) readDiversions() error {
	text, err := db.x.read(databaseDir + "/diversions")
	db.diversions = deb.ReadDiversions(string(text))
	for from, d := range db.diversions {
		db.fixed[from], db.fixed[d.To] = true, true
	}
	return err
}

// diverted is where a package's path really goes.
func (db *database) diverted(p *parcel, name string) string {
	return db.diversions.Place(p.pkg.Name, name)
}

func (db *database) readOverrides() error {
	lines, err := db.lines("statoverride")
	for _, line := range lines { // owner, group, mode, path
		if fields := strings.SplitN(line, " ", 4); len(fields) == 4 {
			db.fixed[fields[3]] = true
		}
	}
	return err
}

func (db *database) readInterests() error {
	interests, err := db.lines("triggers/File")
	for _, line := range interests {
		if file, who, ok := strings.Cut(line, " "); ok {
			db.interests[file] = append(db.interests[file], who)
		}
	}
	return err
}

// lines reads a file of the database, which need not be there.
func (db *database) lines(name string) ([]string, error) {
	text, err := db.x.read(path.Join(databaseDir, name))
	if len(text) == 0 || err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), nil
}

// chosen reports whether a script has said already what happens at a path.
func (db *database) chosen(name string) bool { return db.fixed[name] }

// mayOwn reports whether an entry's owner is who its numbers say. dpkg goes by the names, where there are
// accounts already.
func (db *database) mayOwn(h *tar.Header) bool {
	if !db.accounts {
		return true
	}
	root := func(id int, name string) bool { return id == 0 && (name == "" || name == "root") }
	return root(h.Uid, h.Uname) && root(h.Gid, h.Gname)
}

// stanza records an unpacked package as dpkg would, its control files with it.
func (db *database) stanza(p *parcel) error {
	db.stanzas.WriteString("Package: " + p.pkg.Name + "\nStatus: install ok unpacked\n")
	for line := range bytes.Lines(bytes.TrimSpace(p.stanza)) {
		if name, _, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("package")) {
			continue
		}
		db.stanzas.Write(bytes.TrimRight(line, "\n"))
		db.stanzas.WriteByte('\n')
	}
	if names, _ := p.conffiles(); len(names) > 0 {
		db.stanzas.WriteString("Conffiles:\n " + strings.Join(names, " newconffile\n ") + " newconffile\n")
	}
	db.stanzas.WriteByte('\n')
	return db.info(p, p.files)
}

// files records which files of a package were placed, and what that triggers.
func (db *database) files(p *parcel, l laid) error {
	db.trigger(p, l)
	files := []controlFile{{"list", 0o644, []byte(strings.Join(l.paths, "\n") + "\n")}}
	if !l.summed {
		files = append(files, controlFile{"md5sums", 0o644, []byte(strings.Join(append(l.md5, ""), "\n"))})
	}
	return db.info(p, files)
}

func (db *database) info(p *parcel, files []controlFile) error {
	for _, f := range files {
		if err := db.x.write(path.Join(databaseDir, "info", p.record()+"."+f.name), f.mode, f.content); err != nil {
			return err
		}
	}
	return nil
}

// trigger notes the triggers that a package activates: those that it names, and those of packages that
// are interested in its files. They go where dpkg-trigger writes, for the next dpkg to read.
func (db *database) trigger(p *parcel, l laid) {
	for _, words := range p.directives() {
		if strings.HasSuffix(words[0], "-noawait") {
			db.activate(words[1], "-")
		} else {
			db.activate(words[1], p.record())
		}
	}
	if len(db.interests) == 0 {
		return
	}
	for _, name := range l.placed {
		for at := name; at != "/"; at = path.Dir(at) {
			for _, who := range db.interests[at] {
				if strings.HasSuffix(who, "/noawait") {
					db.activate(at, "-")
				} else {
					db.activate(at, p.record())
				}
			}
		}
	}
}

func (db *database) activate(trigger, awaiting string) {
	if db.pending[trigger] == nil {
		db.pending[trigger] = map[string]bool{}
	}
	db.pending[trigger][awaiting] = true
}

// write writes what was added.
func (db *database) write() error {
	return inOrder(db.writeStatus, db.writeTriggers)
}

func (db *database) writeStatus() error {
	if db.stanzas.Len() == 0 {
		return nil
	}
	status, err := db.x.read(databaseDir + "/status")
	if err != nil {
		return err
	}
	if len(status) > 0 {
		status = append(bytes.TrimSpace(status), "\n\n"...)
	}
	return db.x.write(databaseDir+"/status", 0o644, append(status, db.stanzas.Bytes()...))
}

func (db *database) writeTriggers() error {
	text, err := db.x.read(databaseDir + "/triggers/Unincorp")
	if err != nil || len(db.pending) == 0 {
		return err
	}
	for _, trigger := range slices.Sorted(maps.Keys(db.pending)) {
		text = fmt.Appendf(text, "%s %s\n", trigger, strings.Join(slices.Sorted(maps.Keys(db.pending[trigger])), " "))
	}
	return db.x.write(databaseDir+"/triggers/Unincorp", 0o644, text)
}
