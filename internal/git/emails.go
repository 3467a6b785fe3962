package git

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"imx"
)

// Emails returns the addresses of all who wrote or made the commits that lead to one and not to each of some others: to at least one of
// them they are new. It returns those of whom their messages name as co-authors too; as imx.NormalEmail has them, sorted. Without others all that leads to
// the commit counts. Errors: NotFound for others that the copy doesn't have; Refused for more than imx.MaxEmails.
func (r *Repository) Emails(ctx context.Context, commit string, others ...string) ([]string, error) {
	if err := named(commit); err != nil {
		return nil, err
	}
	ranges := [][]string{{commit}}
	if len(others) > 0 {
		ranges = nil
	}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(others))) {
		if _, err := r.object(ctx, "commit", id); err != nil {
			return nil, err
		}
		ranges = append(ranges, []string{commit, "^" + id})
	}
	found := &addresses{all: map[string]bool{}}
	for _, commits := range ranges {
		// Not git log: what a person has set up for that one doesn't change what this prints.
		args := append([]string{"rev-list", "--no-commit-header", "--format=%ae%n%ce%n%(trailers:key=Co-authored-by,valueonly)"}, commits...)
		if err := r.into(ctx, found, nil, append(args, "--")...); err != nil {
			if found.over {
				return nil, imx.Errorf(imx.Refused, "more than %d people made the commits that lead to %.12s and are new: who may approve it can't be told", imx.MaxEmails, commit).
					WithHint("release its services once from a folder at a newer commit, imx apply, so that less is new; or follow a branch with less history")
			}
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(found.all)), nil
}

// addresses keeps each address of lines that are written to it, "ADDRESS" or "NAME <ADDRESS>", up to imx.MaxEmails.
type addresses struct {
	all  map[string]bool
	rest []byte // of a line whose end isn't there yet
	over bool
}

// maxLine is the most of a line that is kept until its end is there.
const maxLine = 64 << 10

// Write implements io.Writer.
func (a *addresses) Write(p []byte) (int, error) {
	a.rest = append(a.rest, p...)
	for {
		line, rest, ok := bytes.Cut(a.rest, []byte("\n"))
		if !ok {
			break
		}
		a.rest = rest
		if err := a.add(string(line)); err != nil {
			return 0, err
		}
	}
	a.rest = bytes.Clone(a.rest[max(0, len(a.rest)-maxLine):])
	return len(p), nil
}

// add keeps a line's address, if somebody who is known can have it.
func (a *addresses) add(line string) error {
	if _, address, ok := strings.Cut(line, "<"); ok {
		line, _, _ = strings.Cut(address, ">")
	}
	email := imx.NormalEmail(line)
	if !strings.Contains(email, "@") || len(email) > imx.MaxEmail {
		return nil
	}
	if a.all[email] = true; len(a.all) > imx.MaxEmails {
		a.over = true
		return errors.New("there are more addresses than are taken")
	}
	return nil
}
