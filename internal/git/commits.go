package git

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"imx"
)

// MaxNew is how many new commits are looked at one by one.
const MaxNew = 1000

// New returns the commits that lead to one and not to each of some others: that are new to at least one of them, itself among them; sorted. One of the
// others that the copy doesn't have has none of them. Errors: Refused for more than MaxNew.
func (r *Repository) New(ctx context.Context, commit string, others ...string) ([]string, error) {
	if err := named(commit); err != nil {
		return nil, err
	}
	found := []string{}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(others))) {
		args := []string{"rev-list", fmt.Sprintf("--max-count=%d", MaxNew+1), commit}
		if _, err := r.object(ctx, "commit", id); err == nil {
			args = append(args, "^"+id)
		}
		out, err := r.run(ctx, nil, append(args, "--")...)
		if err != nil {
			return nil, err
		}
		found = append(found, strings.Fields(string(out))...)
	}
	slices.Sort(found)
	if found = slices.Compact(found); len(found) > MaxNew {
		return nil, imx.Errorf(imx.Refused, "more than %d commits that lead to %.12s are new: who signed them isn't looked at", MaxNew, commit)
	}
	return found, nil
}
