package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"imx"
	"imx/internal/deb"
	"imx/internal/disk"
)

// maxInRelease bounds the one file whose size nobody has signed; Debian's largest has 150 kB.
const maxInRelease = 16 << 20

// verified brings the suite's InRelease from the first mirror that has a good one. If none has, it
// tells the worst failure.
func (f *fetch) verified(ctx context.Context, src source) suite {
	step := "fetch suite " + src.suite
	began := f.cfg.Now()
	f.report(imx.Progress{Step: step, Status: imx.StepRunning})
	var failed suite
	for _, m := range src.mirrors {
		s := suite{source: src, from: m}
		if s.err = f.inRelease(ctx, &s); s.err == nil {
			status := imx.StepDone
			if s.cached {
				status = imx.StepCached
			}
			f.report(imx.Progress{Step: step, Status: status, Message: "signed " + s.release.Date.Format(time.DateTime), Seconds: f.cfg.Now().Sub(began).Seconds()})
			return s
		}
		if failed.err == nil || worse(s.err, failed.err) {
			failed = s
		}
	}
	f.report(imx.Progress{Step: step, Status: imx.StepFailed, Message: imx.AsError(failed.err).Message})
	return failed
}

// inRelease brings, verifies and keeps the InRelease of s.from. A mirror that says that the file
// didn't change is taken at its word only as far as the kept one still verifies.
func (f *fetch) inRelease(ctx context.Context, s *suite) error {
	kept := f.keptRelease(s)
	if st, err := os.Stat(kept); err == nil && s.from.root.Scheme != "file" {
		raw, modified, err := f.download(ctx, s, st.ModTime())
		if err != nil {
			return f.named(s, s.inReleasePath(), err)
		}
		if raw != nil {
			return f.accept(s, raw, modified)
		}
		if raw, err = fs.ReadFile(os.DirFS(f.releaseDir()), filepath.Base(kept)); err == nil && f.check(s, raw) == nil {
			s.cached = true
			return nil
		}
	}
	raw, modified, err := f.download(ctx, s, time.Time{})
	if err != nil {
		return f.named(s, s.inReleasePath(), err)
	}
	return f.accept(s, raw, modified)
}

func (s *suite) inReleasePath() string { return "dists/" + s.suite + "/InRelease" }

// download returns nil bytes if the file isn't newer than since.
func (f *fetch) download(ctx context.Context, s *suite, since time.Time) (raw []byte, modified time.Time, err error) {
	req := request{root: s.from.root, path: s.inReleasePath(), size: -1, limit: maxInRelease, since: since}
	err = f.get(ctx, req, func(r *response) error {
		if r.notModified {
			return nil
		}
		modified = r.modified
		raw, err = io.ReadAll(r)
		return err
	})
	return raw, modified, err
}

// accept checks a downloaded InRelease and keeps it.
func (f *fetch) accept(s *suite, raw []byte, modified time.Time) error {
	if err := f.check(s, raw); err != nil {
		return f.named(s, s.inReleasePath(), err)
	}
	if modified.IsZero() {
		modified = s.release.Date
	}
	if err := writeFile(f.keptRelease(s), raw, modified); err != nil {
		return disk.Error(err, fmt.Sprintf("keeping the index of suite %q", s.suite))
	}
	return nil
}

// check verifies the bytes of an InRelease and fills s from it.
func (f *fetch) check(s *suite, raw []byte) error {
	now := f.cfg.Now()
	text, err := openSigned(raw, s.from.ring, now)
	if err != nil {
		refused := imx.Errorf(imx.Refused, "%w", err).
			WithHint("the file was changed on its way, or the keyring is too old: renew the package debian-archive-keyring, or the archive's keyring")
		if !s.from.sure {
			refused.Hint += fmt.Sprintf("; if this is another vendor's archive, name its key with Signed-By at %s", s.from.at)
		}
		return refused
	}
	if s.release, err = deb.ParseRelease(bytes.NewReader(text)); err != nil {
		return err
	}
	s.locked = imx.LockedSuite{Archive: f.decl.Name, Suite: s.suite, InRelease: imx.DigestBytes(raw), Date: s.release.Date}
	return f.checkRelease(s, now)
}

// checkRelease compares what a signed Release says of itself with what was asked for, with the
// clock, and with what was seen before.
func (f *fetch) checkRelease(s *suite, now time.Time) error {
	rel := s.release
	date, clock := rel.Date.Format(time.RFC3339), now.UTC().Format(time.RFC3339)
	switch {
	case s.suite != rel.Codename && s.suite != rel.Suite:
		return imx.Errorf(imx.Refused, "is of the suite %q (codename %q), wanted %q", rel.Suite, rel.Codename, s.suite).
			WithHint("the mirror serves another suite under this name: name the suite that is meant, or use another mirror")
	case rel.Date.After(now.Add(time.Hour)):
		return imx.Errorf(imx.Refused, "has the date %s, which is in the future: now is %s", date, clock).
			WithHint("set this machine's clock right")
	case !rel.ValidUntil.IsZero() && now.After(rel.ValidUntil) && !f.decl.Expired:
		return imx.Errorf(imx.Refused, "has expired: it was valid until %s, now is %s", rel.ValidUntil.Format(time.RFC3339), clock).
			WithHint("use a mirror that is kept up to date, or set this machine's clock right; if the archive is one that no longer changes, say expired = true in its archive block")
	case !rel.ValidUntil.IsZero() && now.After(rel.ValidUntil):
		s.notices = imx.Diagnostics{{
			Severity: imx.SeverityNotice, At: f.decl.At,
			Summary: fmt.Sprintf("archive %q, suite %q: its index has expired, it was valid until %s; it is taken because the archive says expired = true",
				f.decl.Name, s.suite, rel.ValidUntil.Format(time.RFC3339)),
		}}
	}
	for _, k := range f.known {
		if k.Archive == f.decl.Name && k.Suite == s.suite && rel.Date.Before(k.Date) {
			return imx.Errorf(imx.Refused, "is rolled back: its date is %s, but one of %s was seen before", date, k.Date.UTC().Format(time.RFC3339)).
				WithHint("the mirror lags behind, or somebody holds updates back: try again later, or use another mirror")
		}
	}
	return nil
}

// named puts the archive, the suite and the file before an error.
func (f *fetch) named(s *suite, path string, err error) error {
	return subjectError(f.decl.Name, s.suite, path, err)
}

// subjectError keeps the kind and the hint of err.
func subjectError(archive, suiteName, path string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("archive %q: %w", archive, err)
	}
	known := imx.AsError(err)
	named := imx.Errorf(known.Kind, "archive %q, suite %q: %s: %w", archive, suiteName, path, err)
	named.Hint = known.Hint
	if named.Hint == "" && named.Kind == imx.Refused {
		named.Hint = hintHostile
	}
	return named
}

func (a *Archive) releaseDir() string { return filepath.Join(a.cfg.Dir, "releases") }

// keptRelease is where the last verified InRelease of the suite on this mirror is.
func (f *fetch) keptRelease(s *suite) string {
	sum := sha256.Sum256([]byte(s.from.root.String() + "\n" + s.suite))
	return filepath.Join(f.releaseDir(), hex.EncodeToString(sum[:16]))
}

// writeFile replaces a file of the cache. The modification time is the mirror's, to ask for a newer
// one by, and so has to be right from the start. The name isn't synced: what is lost is fetched again.
func writeFile(path string, b []byte, modified time.Time) error {
	staged, err := disk.Stage(filepath.Dir(path), b)
	if err != nil {
		return err
	}
	err = os.Chtimes(staged, modified, modified)
	if err == nil {
		err = os.Rename(staged, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(staged))
	}
	return nil
}

// prune deletes the lists that no kept InRelease names any more. While another fetch needs lists it
// leaves that to a later one: the InRelease that names them may have been replaced meanwhile.
func (a *Archive) prune() error {
	if !a.reading.TryLock() {
		return nil
	}
	defer a.reading.Unlock()
	entries, err := os.ReadDir(a.releaseDir())
	if err != nil {
		return err
	}
	used := map[imx.Digest]bool{}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(a.releaseDir(), e.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, d := range namedDigests(raw) {
			used[d] = true
		}
	}
	return a.lists.keep(used)
}
