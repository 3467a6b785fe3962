package daemon_test

import (
	"testing"
	"time"

	"imx/internal/daemon"
)

func TestACollectionIsDueEachDayAndSoonWhereTheDiskIsNearlyFull(t *testing.T) {
	for _, c := range []struct {
		since time.Duration
		full  bool
		due   bool
		grace time.Duration // 0 means the usual
	}{
		{since: 23 * time.Hour},
		{since: 24 * time.Hour, due: true},
		{since: 9 * time.Minute, full: true},
		{since: 10 * time.Minute, full: true, due: true, grace: time.Hour},
		{since: 24 * time.Hour, full: true, due: true, grace: time.Hour},
	} {
		req, due := daemon.Due(c.since, c.full)
		if due != c.due || (req.Grace == nil) != (c.grace == 0) || req.Grace != nil && time.Duration(*req.Grace) != c.grace {
			t.Errorf("after %s, full %t: due %t, %+v", c.since, c.full, due, req)
		}
	}
}
