package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"imx"
	"imx/internal/attest"
	"imx/internal/inventory"
	"imx/internal/vuln"
)

// keep makes an image's scan evidence about it.
func (s *Scanner) keep(ctx context.Context, by imx.Principal, one imx.ImageScan, feeds []imx.Feed) error {
	now := s.cfg.Now()
	predicate, err := vuln.Predicate(one, feeds, s.cfg.Version, now)
	if err != nil {
		return err
	}
	_, err = s.cfg.Evidence.Add(ctx, by, attest.Claim{
		Repository: one.Name, Image: one.Image, PredicateType: imx.PredicateScan, Predicate: predicate, Summary: summary(one),
	})
	return err
}

func summary(one imx.ImageScan) string {
	text := vuln.Sum(one.Vulnerabilities).String()
	if len(one.Gaps) > 0 {
		text += ", incomplete"
	}
	return text
}

// says reports whether the scan that is evidence about an image found just what this one found. One that can't be read
// says nothing.
func (s *Scanner) says(last imx.Evidence, one imx.ImageScan) bool {
	st, err := s.cfg.Evidence.Read(last)
	return err == nil && vuln.Found(st.Predicate, one)
}

// stated is the VEX document that is kept as evidence about an image, as the state has it. One whose key doesn't count
// excuses nothing. Errors: Refused and NotFound for one that is damaged or gone.
func (s *Scanner) stated(state *imx.State, image imx.Digest) ([]vuln.Plea, error) {
	e, ok := state.Evidence[image][imx.PredicateVEX]
	if counts := ok && (e.Bundle == "" || s.cfg.Evidence.Counts(e) == nil); !counts {
		return nil, nil
	}
	st, err := s.cfg.Evidence.Read(e)
	if err != nil {
		return nil, err
	}
	doc, err := vuln.ParseVEX(bytes.NewReader(st.Predicate))
	if err != nil {
		return nil, err
	}
	return []vuln.Plea{{From: "evidence", VEX: doc}}, nil
}

// Excuse states that vulnerabilities don't affect the image that a person means, and keeps that as evidence about it,
// beside what was stated of it before, if that can be read. It returns the whole OpenVEX document; that there is, where no
// vulnerability is named. Errors: Invalid for a reason that is none, and for what can't be a vulnerability's name; NotFound
// where nothing was stated; Refused where what was stated is damaged, and none is named; as inventory.Find.
func (s *Scanner) Excuse(ctx context.Context, by imx.Principal, image string, req imx.VEXRequest) (json.RawMessage, error) {
	leave, err := s.stating.take(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	state, err := s.cfg.Server.State(time.Time{})
	if err != nil {
		return nil, err
	}
	views, err := s.cfg.Server.Images(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	v, err := inventory.Find(views, state.Services, image)
	if err != nil {
		return nil, err
	}
	earlier, err := s.earlier(state, v)
	if len(req.IDs) == 0 {
		if err != nil {
			return nil, err
		}
		return json.Marshal(earlier)
	}
	if kind := imx.KindOf(err); err != nil && kind != imx.NotFound && kind != imx.Refused {
		return nil, err
	}
	doc, err := vuln.State(earlier, v.Name, v.Digest, vuln.Reason{
		IDs: req.IDs, Justification: req.Justification, Because: req.Because, By: string(by), Time: s.cfg.Now().UTC(),
	})
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	defer s.poke()
	_, err = s.cfg.Evidence.Add(ctx, by, attest.Claim{
		Repository: v.Name, Image: v.Digest, PredicateType: imx.PredicateVEX, Predicate: json.RawMessage(raw),
		Summary: fmt.Sprintf("%d of its vulnerabilities are excused", len(doc.Statements)),
	})
	return raw, err
}

// earlier is what was stated of an image. Errors: NotFound where nothing was; Refused where it is damaged.
func (s *Scanner) earlier(state *imx.State, v imx.ImageView) (*vuln.VEX, error) {
	known, err := s.stated(state, v.Digest)
	if err != nil {
		e := imx.AsError(err)
		return nil, imx.Errorf(e.Kind, "what was stated of image %s@%s can't be read: %s", v.Name, v.Digest.Short(), e.Message).
			WithHint("state it again: imx vex IMAGE ID --justification WHY")
	}
	if len(known) == 0 {
		return nil, imx.Errorf(imx.NotFound, "nothing was stated of image %s@%s", v.Name, v.Digest.Short()).
			WithHint("imx vex IMAGE ID --justification WHY states that a vulnerability doesn't affect it")
	}
	return &known[0].VEX, nil
}
