package cli_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx/internal/cli"
)

func TestWhatAConditionLookedAtIsReadable(t *testing.T) {
	got := cli.LookedAt([]byte(`{"met": false, "says": "x", "until": 1, "warns": true, "most_ns": 86400000000000, "at_ns": 1795338000000000000, "authors": ["ann"]}`))
	if diff := cmp.Diff([]string{"at: 2026-11-22 09:00:00Z", "authors: [\"ann\"]", "most: 24h0m0s"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestALongListEndsAfterAnElement(t *testing.T) {
	var all []string
	for i := range 100 {
		all = append(all, fmt.Sprintf(`"element %d"`, i))
	}
	got := cli.LookedAt([]byte(`{"list": [` + strings.Join(all, ",") + `], "object": {"key": [` + strings.Join(all, ",") + `]}}`))
	want := []string{`list: [` + strings.Join(all[:25], ",") + `] and 75 more (--json shows all)`, `object: {} and 1 more (--json shows all)`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
