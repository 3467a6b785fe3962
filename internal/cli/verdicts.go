package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"imx"
	"imx/internal/check/rules"
	"imx/internal/disk"
)

// verdicts keep what checks said, in a folder for each day: what a rule says may change with the day, so that
// yesterday's are of no use. A verdict is found by what was in the template's own files, by the rules and by the
// program that judged; the further files that it depends on are in it. Nothing here is ever an error: what can't
// be read or written is made anew.
type verdicts struct{ dir string }

// newVerdicts keeps verdicts below a folder for what can be made anew, or none if there is no such folder.
func newVerdicts(cache string) verdicts {
	if cache == "" {
		return verdicts{}
	}
	return verdicts{filepath.Join(cache, "check")}
}

const (
	dayFormat   = "2006-01-02"
	maxTemplate = 1 << 20 // as the template language has it for all *.imx.hcl files together
	maxVerdict  = 16 << 20
)

// key names the verdict on a folder, "" where none is to be looked for.
func (v verdicts) key(files *recorder, near beside, version imx.Version, own []ownRules, now time.Time) string {
	if v.dir == "" {
		return ""
	}
	names, err := fs.Glob(files.fsys, "*.imx.hcl")
	if err != nil {
		return ""
	}
	type input struct {
		Version imx.Version
		Program [2]string
		Day     string
		Rules   []imx.Digest
		Files   [][2]string
		Beside  []string
		Large   []large
		More    string
	}
	in := input{Version: version, Program: program(), Day: now.UTC().Format(dayFormat), Rules: []imx.Digest{imx.DigestJSON(rules.Files())}, Beside: near.names, Large: near.large, More: near.more}
	for _, o := range own {
		in.Rules = append(in.Rules, o.digest())
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		text, ok := files.small(name)
		if !ok {
			return ""
		}
		in.Files = append(in.Files, [2]string{name, string(imx.DigestBytes(text))})
	}
	return imx.DigestJSON(in).Hex()
}

// small reads a regular file that is no larger than a template may be.
func (r *recorder) small(name string) ([]byte, bool) {
	info, err := fs.Stat(r.fsys, name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxTemplate {
		return nil, false
	}
	text, err := fs.ReadFile(r.fsys, name)
	return text, err == nil
}

func (v verdicts) path(key string, now time.Time) string {
	return filepath.Join(v.dir, now.UTC().Format(dayFormat), key)
}

// find returns a kept verdict if every file that it depends on is as it was.
func (v verdicts) find(key string, files *recorder, now time.Time) (verdict, bool) {
	if key == "" {
		return verdict{}, false
	}
	info, err := os.Stat(v.path(key, now))
	if err != nil || info.Size() > maxVerdict {
		return verdict{}, false
	}
	b, err := os.ReadFile(v.path(key, now))
	if err != nil {
		return verdict{}, false
	}
	sum, body, _ := bytes.Cut(b, []byte("\n"))
	var found verdict
	if imx.DigestBytes(body).Hex() != string(sum) || json.Unmarshal(body, &found) != nil {
		return verdict{}, false // half written, or by a damaged disk
	}
	for name, digest := range found.Files {
		files.asked[name] = true
		text, ok := files.small(name)
		if !ok || imx.DigestBytes(text) != digest {
			return verdict{}, false
		}
	}
	return found, true
}

// keep writes a verdict, and deletes those of other days with the first one of a day.
func (v verdicts) keep(key string, made verdict, now time.Time) {
	if key == "" {
		return
	}
	body, err := json.Marshal(made)
	if err != nil {
		return
	}
	path := v.path(key, now)
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		_ = os.RemoveAll(v.dir)
		if os.MkdirAll(filepath.Dir(path), 0o700) != nil {
			return
		}
	}
	// Unlike a file that must last, it isn't synced: what a crash leaves half written has another sum.
	f, err := os.CreateTemp(filepath.Dir(path), disk.Staged)
	if err != nil {
		return
	}
	_, err = f.Write(append([]byte(imx.DigestBytes(body).Hex()+"\n"), body...))
	if errors.Join(err, f.Close()) != nil || os.Rename(f.Name(), path) != nil {
		_ = os.Remove(f.Name())
	}
}

// program tells this build of imx from any other, also from one of the same commit and uncommitted changes.
func program() [2]string {
	path, err := os.Executable()
	if err != nil {
		return [2]string{}
	}
	info, err := os.Stat(path)
	if err != nil {
		return [2]string{}
	}
	return [2]string{info.ModTime().String(), strconv.FormatInt(info.Size(), 10)}
}
