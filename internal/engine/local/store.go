package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/engine"
)

// store is the engine's folder: what it must know again after its own death.
//
//	network.json                  the range of addresses that was in use last
//	instances/<id>/instance.json  record: written before anything of the instance is made
//	instances/<id>/log, log.1     its lines in the k8s-file format, the older ones in log.1
//	instances/<id>/dropped        how many bytes of still older ones there were
//	releases/<service>-<number>/  release.json and layer.erofs, while an instance needs them or they are kept
//	kept/<service>-<number>.json  keeping: a release that is kept for the way back
//	routes/<service>.json         engine.Route
//	volumes/<service>/<name>/     the service's state
type store struct {
	dir   string
	write func(path string, data []byte) error // atomic; tests put a failing one here
}

func newStore(dir string) (store, error) {
	for _, sub := range []string{"instances", "releases", "kept", "routes", "volumes"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return store{}, diskError(err, "opening the engine's folder")
		}
	}
	return store{dir: dir, write: writeAtomic}, nil
}

// record is what is kept of an instance.
type record struct {
	Instance imx.Instance `json:"instance"`
	Boot     string       `json:"boot"`               // the kernel's boot id when it was started
	Init     process      `json:"init,omitzero"`      // its first process; zero while it is half made
	Monitor  process      `json:"monitor,omitzero"`   // its conmon
	Link     string       `json:"link"`               // the host's side of its veth
	Lost     time.Time    `json:"lost,omitzero"`      // since when no new connections are led to it; zero while they are
	Drain    time.Time    `json:"drain,omitzero"`     // until when one that is stopping may finish its connections
	Kill     time.Time    `json:"kill,omitzero"`      // when SIGKILL follows the stop signal; zero before that is due
	Freezing bool         `json:"freezing,omitempty"` // it is to be warm when it has finished its connections
	Cleared  bool         `json:"cleared,omitempty"`  // nothing of it is left but this record and its log
}

// move puts the instance into another phase, or gives it another reason for being in the one it is.
func (r *record) move(to imx.Phase, reason string, now time.Time) {
	if r.Instance.Phase != to {
		r.Instance.Phase, r.Instance.Changed = to, now.UTC()
	}
	r.Instance.Reason = reason
}

func (s store) instance(id string) string { return filepath.Join(s.dir, "instances", id) }
func (s store) release(service string, number int) string {
	return s.releaseAs(releaseKey(service, number))
}

func (s store) releaseAs(key string) string { return filepath.Join(s.dir, "releases", key) }

func (s store) route(service string) string  { return filepath.Join(s.dir, "routes", service+".json") }
func (s store) kept(key string) string       { return filepath.Join(s.dir, "kept", key+".json") }
func (s store) volume(service string) string { return filepath.Join(s.dir, "volumes", service) }

// putInstance writes the record. It isn't synced to the disk: what it is for is the death of the
// server, and after the machine's own no process is left to find again.
func (s store) putInstance(r record) error {
	dir := s.instance(r.Instance.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return diskError(err, "making the folder of instance "+r.Instance.ID)
	}
	return s.put(filepath.Join(dir, "instance.json"), r)
}

func (s store) put(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	return diskError(s.write(path, data), "writing "+filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path))
}

// loadInstances reads every record. Folders without a readable one hold nothing that runs (the
// record is the first thing that is made), but may be half removed: their ids come back in junk.
func (s store) loadInstances() (records []record, junk []string, err error) {
	names, err := os.ReadDir(filepath.Join(s.dir, "instances"))
	if err != nil {
		return nil, nil, diskError(err, "reading the engine's folder")
	}
	for _, name := range names {
		var r record
		if read(filepath.Join(s.instance(name.Name()), "instance.json"), &r) != nil || r.Instance.ID != name.Name() {
			junk = append(junk, name.Name())
			continue
		}
		records = append(records, r)
	}
	return records, junk, nil
}

// network returns the range of addresses that was in use last, the zero Prefix where none was.
func (s store) network() netip.Prefix {
	var p netip.Prefix
	if read(filepath.Join(s.dir, "network.json"), &p) != nil {
		return netip.Prefix{}
	}
	return p
}

func (s store) putNetwork(p netip.Prefix) error {
	if s.network() == p {
		return nil
	}
	return s.put(filepath.Join(s.dir, "network.json"), p)
}

func (s store) loadRoutes() (map[string]engine.Route, error) {
	routes := map[string]engine.Route{}
	names, err := os.ReadDir(filepath.Join(s.dir, "routes"))
	if err != nil {
		return nil, diskError(err, "reading the engine's folder")
	}
	for _, name := range names {
		var r engine.Route
		service, ok := strings.CutSuffix(name.Name(), ".json")
		if ok && read(filepath.Join(s.dir, "routes", name.Name()), &r) == nil {
			routes[service] = r
		}
	}
	return routes, nil
}

func (s store) loadKept() (map[string]*keeping, error) {
	kept := map[string]*keeping{}
	names, err := os.ReadDir(filepath.Join(s.dir, "kept"))
	if err != nil {
		return nil, diskError(err, "reading the engine's folder")
	}
	for _, name := range names {
		var k keeping
		key, ok := strings.CutSuffix(name.Name(), ".json")
		if ok && read(s.kept(key), &k) == nil {
			kept[key] = &k
		}
	}
	return kept, nil
}

func read(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// halfWritten is how the names of files end that aren't whole yet.
const halfWritten = ".new"

// writeAtomic makes path hold data, or leaves it as it was.
func writeAtomic(path string, data []byte) error {
	temp := path + halfWritten
	err := os.WriteFile(temp, data, 0o600)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(temp)))
	}
	return nil
}

func diskError(err error, doing string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return imx.Errorf(imx.Exhausted, "%s: no space left on the disk", doing).
			WithHint("free some space in the data folder, then try again")
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
