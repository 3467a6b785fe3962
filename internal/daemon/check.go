package daemon

import (
	"context"
	"sync"
	"time"

	"imx"
	"imx/internal/check"
)

// checker returns what holds templates against imx's own rules. They are compiled when the first template comes: a
// server that only runs instances needs none.
func checker(refuse imx.Level) func(context.Context, imx.Template) ([]imx.Finding, error) {
	shipped := sync.OnceValues(check.Shipped)
	return func(ctx context.Context, t imx.Template) ([]imx.Finding, error) {
		set, err := shipped()
		if err != nil {
			return nil, err
		}
		return check.Gate{Set: set, Refuse: refuse}.Pass(ctx, t, time.Now())
	}
}
