package daemon

import (
	"context"
	"io"
	"path/filepath"

	"imx"
	"imx/internal/ingress/keeper"
)

func ingressPlace(data, id string) keeper.Place {
	if whole, err := filepath.Abs(data); err == nil {
		data = whole
	}
	return keeper.Place{Dir: filepath.Join(data, ingressFolder), ID: id}
}

// ingresses shows and ends where requests come in.
type ingresses struct{ *server }

// Ingresses tells how it stands with them.
func (i ingresses) Ingresses(context.Context) ([]imx.IngressView, error) {
	return i.keeper.Views(i.control.State()), nil
}

// Remove takes one down.
func (i ingresses) Remove(_ context.Context, by imx.Principal, name string) error {
	return i.control.RemoveIngress(by, name)
}

// Restart has another process answer.
func (i ingresses) Restart(context.Context) error {
	if len(i.control.State().Ingresses) == 0 {
		return imx.Errorf(imx.NotFound, "there is no ingress").WithHint("a template's ingress block makes one")
	}
	i.keeper.Restart()
	return nil
}

// AccessLog returns the access log.
func (i ingresses) AccessLog(ctx context.Context, o imx.LogOptions) (io.ReadCloser, error) {
	return i.keeper.AccessLog(ctx, o)
}
