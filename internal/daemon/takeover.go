package daemon

import (
	"context"
	"os"
	"time"

	"imx"
	"imx/internal/evidence"
	"imx/internal/offer"
	"imx/internal/replicate"
	"imx/internal/takeover"
)

// openTaker opens what releases here what the environment before this one runs.
func (s *server) openTaker(statements *evidence.Store) {
	s.taker = takeover.New(takeover.Config{
		Control: s.control, Pipeline: s.pipeline, Environment: s.environment, Now: time.Now, Sound: statements.Check,
		Ask: func(ctx context.Context, u imx.Upstream, service, nonce string) ([]byte, error) {
			secret, err := secretOf("upstream "+u.Environment, u.TokenFile)
			if err != nil {
				return nil, err
			}
			return offer.Ask(ctx, u.Address, secret, service, nonce)
		},
		Open: func(u imx.Upstream) (from, here replicate.Side, err error) {
			secret, err := secretOf("upstream "+u.Environment, u.TokenFile)
			if err == nil {
				from, err = replicate.Open(u.Address, secret, nil)
			}
			return from, s.registrar.side(), err
		},
	})
}

// secretOf reads the token with which another registry is asked; "" where there is no file of one. Errors: NotFound.
func secretOf(whose, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", imx.Errorf(imx.NotFound, "the token file of %s can't be read: %w", whose, err)
	}
	return string(b), nil
}
