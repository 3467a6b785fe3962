package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"imx"
	"imx/internal/deb"
)

// maxList bounds a Packages file, whatever its InRelease says; Debian's largest has 60 MB.
const maxList = 1 << 30

// list is one Packages file of a suite.
type list struct {
	*suite
	path  string // below the suite's folder, without the ending of a compression
	plain deb.ReleaseFile
}

// allLists returns the packages of every component of the suites, brought and verified where they
// aren't in the cache.
func (f *fetch) allLists(ctx context.Context, suites []suite) ([]*deb.List, error) {
	var wanted []list
	for i := range suites {
		for _, component := range suites[i].components {
			l := list{suite: &suites[i], path: component + "/binary-" + f.arch + "/Packages"}
			var ok bool
			if l.plain, ok = l.release.SHA256[l.path]; !ok {
				return nil, f.named(l.suite, l.inReleasePath(), imx.Errorf(imx.NotFound, "it lists no %s", l.path).
					WithHint("the suite has the components %q and the architectures %q", l.release.Components, l.release.Architectures))
			}
			wanted = append(wanted, l)
		}
	}
	brought, lists, err := f.loadAll(ctx, wanted)
	if err != nil {
		return nil, err
	}
	if brought {
		if err := f.prune(); err != nil {
			return nil, fmt.Errorf("removing old archive indices: %w", err)
		}
	}
	return lists, nil
}

// loadAll loads lists at once, and reports whether any of them had to be brought.
func (f *fetch) loadAll(ctx context.Context, wanted []list) (brought bool, _ []*deb.List, _ error) {
	f.reading.RLock()
	defer f.reading.RUnlock()
	lists := make([]*deb.List, len(wanted))
	var missed atomic.Bool
	group, ctx := errgroup.WithContext(ctx)
	for i, l := range wanted {
		group.Go(func() error {
			stored, err := f.lists.open(l.plain.Digest)
			if err != nil { // it isn't there, or is damaged
				missed.Store(true)
				stored, err = f.bringOnce(ctx, l)
			}
			if err != nil {
				return f.named(l.suite, l.dists(l.path), err)
			}
			lists[i] = stored.From(f.decl.Name, l.suite.suite)
			return nil
		})
	}
	err := group.Wait()
	return missed.Load(), lists, err
}

func listStep(l list) string { return "fetch list " + l.suite.suite }

// counted reports how far it was read: most of the time that a large list takes is its reading.
type counted struct {
	r      io.Reader
	report imx.Report
	said   imx.Progress
	next   int64 // what was read when it is to be reported again
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.said.Done += int64(n)
	if c.said.Done >= c.next {
		c.next = c.said.Done + c.said.Total/50
		c.report(c.said)
	}
	return n, err
}

func (s *suite) dists(path string) string { return "dists/" + s.suite + "/" + path }

// bringOnce brings a list, or waits for whoever is bringing the same bytes already, for another
// suite or another fetch. If that one is called off, it brings the list itself.
func (f *fetch) bringOnce(ctx context.Context, l list) (*deb.List, error) {
	for {
		stored, err, _ := f.bringing.Do(string(l.plain.Digest), func() (any, error) {
			stored, err := f.bring(ctx, l)
			if err != nil && ctx.Err() != nil {
				return nil, ctx.Err() // whatever it looked like: a program that is ended midway gives half a list
			}
			return stored, err
		})
		calledOff := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
		if calledOff && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		l, _ := stored.(*deb.List) // bring returns nothing else
		return l, nil
	}
}

// bring downloads a list in the best form that the suite has, checks that, and decompresses it into
// the cache. Nothing is decompressed before its digest was found right. What comes out isn't hashed
// again: the digest of the packed form is as well signed as that of the plain one.
//
// gzip comes first: of Debian's largest list 12 MB are transferred, 3 more than of xz, but
// decompressing them takes a quarter of the time.
func (f *fetch) bring(ctx context.Context, l list) (*deb.List, error) {
	for _, ending := range []string{".gz", ".xz", ""} {
		packed, ok := l.release.SHA256[l.path+ending]
		if !ok {
			continue
		}
		if packed.Size > maxList || l.plain.Size > maxList {
			return nil, imx.Errorf(imx.Refused, "has %d bytes, more than the %d that a list may have", max(packed.Size, l.plain.Size), maxList).
				WithHint(hintMismatch)
		}
		step := listStep(l)
		f.report(imx.Progress{Step: step, Status: imx.StepRunning, Message: l.path + ending, Total: packed.Size, Unit: "bytes"})
		stored, err := f.bringAs(ctx, l, ending, packed)
		if err == nil {
			f.report(imx.Progress{Step: step, Status: imx.StepDone, Message: l.path + ending, Done: packed.Size, Total: packed.Size, Unit: "bytes"})
		}
		return stored, err
	}
	return nil, imx.Errorf(imx.NotFound, "the suite has it in no form that imx reads (.gz, .xz or plain)").
		WithHint("use another mirror, or another suite")
}

// bringAs brings a list in one form.
func (f *fetch) bringAs(ctx context.Context, l list, ending string, packed deb.ReleaseFile) (*deb.List, error) {
	file, err := f.lists.temporary()
	if err != nil {
		return nil, err
	}
	defer file.discard()
	said := imx.Progress{Step: listStep(l), Status: imx.StepRunning, Message: l.path + ending, Total: packed.Size, Unit: "bytes"}
	if err := f.downloadList(ctx, l, ending, packed, file); err != nil {
		return nil, err
	}
	said.Message = "reading " + said.Message
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	unpack := map[string]unpacker{".gz": gunzip, ".xz": unxz, "": asItIs}[ending]
	name := "Packages of " + f.decl.Name + " " + l.suite.suite
	return f.lists.write(l.plain.Digest, func(w io.Writer) error {
		err := unpack(ctx, &counted{r: file, report: f.report, said: said}, func(plain io.Reader) error {
			exact := newBody(io.NopCloser(plain), request{size: l.plain.Size, limit: l.plain.Size})
			exact.explain = func(err error) error { return err }
			return deb.WriteList(w, exact, l.plain.Digest, name)
		})
		if err != nil && ending != "" {
			return fmt.Errorf("decompressed from %s: %w", ending, err)
		}
		return err
	})
}

// downloadList brings one form of a list into a file. A path that names the digest comes first, where
// the suite promises it: it stays right while the mirror is being updated.
func (f *fetch) downloadList(ctx context.Context, l list, ending string, want deb.ReleaseFile, into *temporary) error {
	paths := []string{l.dists(l.path + ending)}
	if l.release.AcquireByHash {
		byHash := l.dists(l.path[:len(l.path)-len("Packages")] + "by-hash/SHA256/" + want.Digest.Hex())
		paths = []string{byHash, paths[0]}
	}
	var err error
	for _, path := range paths {
		req := request{root: l.from.root, path: path, size: want.Size, limit: want.Size}
		err = f.get(ctx, req, func(r *response) error { return into.fill(r, want.Digest) })
		if imx.KindOf(err) != imx.NotFound {
			return err
		}
	}
	return err
}

// mismatch gives the blob store's refusal of a wrong digest a hint.
func mismatch(err error) error {
	var known *imx.Error
	if errors.As(err, &known) && known.Kind == imx.Refused && known.Hint == "" {
		return imx.Errorf(imx.Refused, "%w", err).WithHint(hintMismatch)
	}
	return err
}
