package demo

import (
	"context"
	"fmt"

	"imx"
)

// canary mends what broke, and releases a version that passes its tests and is healthy, and that fails each tenth visitor: that
// shows in its metrics alone.
func (s *stage) canary(ctx context.Context) error {
	if err := s.edit(ctx, "shop.py", "store.pong()", "store.ping()", "Take the new health check back"); err != nil {
		return err
	}
	s.say("A version that passes its tests, is healthy, and fails each tenth visitor. One in five visitors gets it, and its metrics tell.")
	if err := s.edit(ctx, "shop.py", "visits % 10 == 0,", "visits % 10 == 0 and draw(visits),", "Draw a prize for each tenth visitor"); err != nil {
		return err
	}
	before := s.load.Counts()
	if err := s.imx(ctx, "abort a canary by its metrics", exitRolloutFailed, "apply", "--yes", s.shop); err != nil {
		return err
	}
	during := s.load.Counts().Since(before)
	s.canaryErrors += during.Refused
	fmt.Fprintf(s.cfg.Out, "meanwhile: %d requests, %d answered with the canary's error, %d lost\n\n", during.Sent, during.Refused, during.Lost)
	if during.Refused == 0 {
		return imx.Errorf(imx.Internal, "the canary answered no request with an error, so nothing was shown")
	}
	if err := s.imx(ctx, "", 0, "rollout", "history", "app"); err != nil {
		return err
	}
	return s.edit(ctx, "shop.py", "visits % 10 == 0 and draw(visits),", "visits % 10 == 0,", "No prizes yet")
}

// wayBack goes back to the page of before, whose instances are there still, frozen; and lets the service go on.
func (s *stage) wayBack(ctx context.Context, page string) error {
	s.say("And back: the release before is there still, frozen. Nothing is built, downloaded or started.")
	before := s.load.Counts()
	if err := s.imx(ctx, "roll back", 0, "rollback", "web"); err != nil {
		return err
	}
	during := s.load.Counts().Since(before)
	fmt.Fprintf(s.cfg.Out, "meanwhile: %d requests, %d lost\n\n", during.Sent, during.Lost)
	if err := s.expectPage(ctx, page); err != nil {
		return err
	}
	s.say("It stays there, whatever is committed or applied, until somebody lets it go on.")
	if err := s.imx(ctx, "", 0, "status"); err != nil {
		return err
	}
	return s.imx(ctx, "", 0, "hold", "release", "web", "--reason", "the page is mended")
}
