package daemon

import (
	"context"
	"sync"
	"time"

	"imx"
	"imx/internal/check"
	"imx/internal/leak"
)

// checker returns what holds templates against imx's own rules and looks for secrets in them. Rules are compiled when
// the first template comes: a server that only runs instances needs none.
func checker(refuse imx.Level) func(context.Context, imx.Template) ([]imx.Finding, error) {
	shipped, secrets := sync.OnceValues(check.Shipped), sync.OnceValue(leak.New)
	return func(ctx context.Context, t imx.Template) ([]imx.Finding, error) {
		set, err := shipped()
		if err != nil {
			return nil, err
		}
		return check.Gate{Set: set, Secrets: secrets(), Refuse: refuse}.Pass(ctx, t, time.Now())
	}
}
