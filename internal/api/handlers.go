package api

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"time"

	"imx"
)

func version(s *server, r *request) error { return r.answer(s.Viewer.Version()) }

func plan(s *server, r *request) error { return planned(r, s.Applier.Plan) }

func build(s *server, r *request) error { return planned(r, s.Applier.Build) }

func checkRepro(s *server, r *request) error { return planned(r, s.Applier.CheckRepro) }

func apply(s *server, r *request) error { return planned(r, s.Applier.Apply) }

func takeOver(s *server, r *request) error {
	var req imx.TakeoverRequest
	if err := r.read(&req); err != nil {
		return err
	}
	req.Account = r.account
	return stream(r, func(ctx context.Context, report imx.Report) (imx.ApplyResult, error) {
		return s.Taker.Take(ctx, r.by, req, report)
	})
}

func test(s *server, r *request) error {
	var req imx.TestRequest
	if err := r.read(&req); err != nil {
		return err
	}
	return stream(r, func(ctx context.Context, report imx.Report) (imx.TestReport, error) {
		return s.Applier.Test(ctx, r.by, req, report)
	})
}

// planned runs one of the Applier's methods.
func planned[T any](r *request, do func(context.Context, imx.Principal, imx.PlanRequest, imx.Report) (T, error)) error {
	var req imx.PlanRequest
	if err := r.read(&req); err != nil {
		return err
	}
	req.Account = r.account
	return stream(r, func(ctx context.Context, report imx.Report) (T, error) { return do(ctx, r.by, req, report) })
}

func status(s *server, r *request) error {
	at, err := r.moment("at")
	if err != nil {
		return err
	}
	return answer(r, func(ctx context.Context) (imx.Status, error) { return s.Viewer.Status(ctx, at) })
}

func instances(s *server, r *request) error {
	return answer(r, func(ctx context.Context) ([]imx.Instance, error) {
		now, err := s.Viewer.Status(ctx, time.Time{})
		if err != nil {
			return nil, err
		}
		wanted := r.query.Get("service")
		if _, known := now.State.Services[wanted]; wanted != "" && !known {
			return nil, noService(wanted)
		}
		all := make([]imx.Instance, 0, len(now.State.Instances))
		for _, id := range slices.Sorted(maps.Keys(now.State.Instances)) {
			if in := now.State.Instances[id]; wanted == "" || in.Service == wanted {
				all = append(all, in)
			}
		}
		return all, nil
	})
}

func archives(s *server, r *request) error {
	return answer(r, s.Freezer.Archives)
}

func freeze(s *server, r *request) error {
	var req imx.FreezeRequest
	if err := r.read(&req); err != nil {
		return err
	}
	return stream(r, func(ctx context.Context, report imx.Report) (imx.Frozen, error) {
		return s.Freezer.Freeze(ctx, r.by, req, report)
	})
}

func collect(s *server, r *request) error {
	var req imx.CollectRequest
	if err := r.read(&req); err != nil {
		return err
	}
	return stream(r, func(ctx context.Context, report imx.Report) (imx.Collection, error) {
		return s.Collector.Collect(ctx, r.by, req, report)
	})
}

func images(s *server, r *request) error { return answer(r, s.Images.Images) }

func image(s *server, r *request) error {
	return answer(r, func(ctx context.Context) (imx.ImageDetail, error) { return s.Images.Image(ctx, r.PathValue("image")) })
}

func evidenceOf(s *server, r *request) error {
	return answer(r, func(ctx context.Context) ([]imx.Evidence, error) {
		return s.Evidence.Evidence(ctx, r.PathValue("image"))
	})
}

func statement(s *server, r *request) error {
	return answer(r, func(ctx context.Context) (imx.Statement, error) {
		return s.Evidence.Statement(ctx, r.PathValue("image"), r.PathValue("type"))
	})
}

func bundle(s *server, r *request) error {
	return answer(r, func(ctx context.Context) (json.RawMessage, error) {
		return s.Evidence.Bundle(ctx, r.PathValue("image"), r.PathValue("type"))
	})
}

func sbom(s *server, r *request) error {
	formats := map[string]string{"spdx": imx.PredicateSPDX, "cyclonedx": imx.PredicateCycloneDX}
	predicate, ok := formats[cmp.Or(r.query.Get("format"), "spdx")]
	if !ok {
		return imx.Errorf(imx.Invalid, "there is no form of an SBOM called %q", r.query.Get("format")).WithHint("spdx or cyclonedx")
	}
	return answer(r, func(ctx context.Context) (json.RawMessage, error) {
		return s.Evidence.SBOM(ctx, r.by, r.PathValue("image"), predicate)
	})
}

func logs(s *server, r *request) error {
	return copyLog(r, func(ctx context.Context, o imx.LogOptions) (io.ReadCloser, error) {
		return s.Logs.Logs(ctx, r.PathValue("instance"), o)
	})
}

// copyLog answers with a log, as the request asks for it.
func copyLog(r *request, read func(context.Context, imx.LogOptions) (io.ReadCloser, error)) error {
	var o imx.LogOptions
	var err1, err2, err3 error
	o.Follow, err1 = r.boolean("follow")
	o.Times, err2 = r.boolean("times")
	tail, err3 := r.number("tail")
	o.Tail = int(tail)
	if err := cmp.Or(err1, err2, err3); err != nil {
		return err
	}
	lines, err := read(r.Context(), o)
	if err != nil {
		return err
	}
	defer func() { _ = lines.Close() }() // it was only read from
	r.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	r.begin()
	r.flush()
	if _, err := io.Copy(flushing{r}, lines); err != nil {
		r.breakOff(err)
	}
	return nil
}

func why(s *server, r *request) error {
	return answer(r, func(ctx context.Context) (imx.Why, error) { return s.Viewer.Why(ctx, r.PathValue("instance")) })
}

func events(s *server, r *request) error {
	from, err := r.number("from")
	if err != nil {
		return err
	}
	follow, err := r.boolean("follow")
	if err != nil {
		return err
	}
	r.w.Header().Set("Content-Type", ndjson)
	lines := json.NewEncoder(r.w)
	for event, err := range s.Viewer.Events(r.Context(), from, follow) {
		if err != nil && !r.begun {
			return err
		}
		r.begin()
		if err != nil {
			return lines.Encode(map[string]*imx.Error{"error": imx.AsError(err)})
		}
		if err := lines.Encode(event); err != nil {
			return err
		}
		if follow {
			r.flush()
		}
	}
	r.begin()
	return nil
}

func verify(s *server, r *request) error {
	var req imx.VerifyRequest
	if err := r.read(&req); err != nil {
		return err
	}
	return answer(r, func(ctx context.Context) (imx.LogCheck, error) { return s.Viewer.CheckLog(ctx, req.Earlier...) })
}

func services(s *server, r *request) error {
	return answer(r, func(ctx context.Context) ([]imx.Service, error) {
		now, err := s.Viewer.Status(ctx, time.Time{})
		all := make([]imx.Service, 0, len(now.State.Services))
		for _, name := range slices.Sorted(maps.Keys(now.State.Services)) {
			if service := now.State.Services[name]; !service.Destroyed {
				all = append(all, service)
			}
		}
		return all, err
	})
}

func releases(s *server, r *request) error {
	return answer(r, func(ctx context.Context) ([]imx.Release, error) {
		now, err := s.Viewer.Status(ctx, time.Time{})
		if err != nil {
			return nil, err
		}
		service, ok := now.State.Services[r.PathValue("service")]
		if !ok {
			return nil, noService(r.PathValue("service"))
		}
		return append([]imx.Release{}, service.Releases...), nil
	})
}

func rollback(s *server, r *request) error {
	var req imx.RollbackRequest
	if err := r.read(&req); err != nil {
		return err
	}
	if req.To < 0 {
		return imx.Errorf(imx.Invalid, "%d is not a release's number", req.To).WithHint("releases count from 1; 0 means the previous good one")
	}
	return stream(r, func(ctx context.Context, report imx.Report) (imx.Release, error) {
		return s.Operator.Rollback(ctx, r.by, r.PathValue("service"), req.To, report)
	})
}

func scale(s *server, r *request) error {
	var req imx.ScaleRequest
	if err := r.read(&req); err != nil {
		return err
	}
	if req.Auto == (req.Replicas != nil) || !req.Auto && *req.Replicas < 0 {
		return imx.Errorf(imx.Invalid, "scaling needs a number of replicas, 0 or more, or to be given back to the scale block").
			WithHint(`send {"replicas": 3} or {"auto": true}`)
	}
	return stream(r, func(ctx context.Context, report imx.Report) (imx.Service, error) {
		return s.Operator.Scale(ctx, r.by, r.PathValue("service"), req, report)
	})
}

func destroy(s *server, r *request) error {
	if len(r.query["service"]) == 0 {
		return imx.Errorf(imx.Invalid, "which services shall be destroyed isn't said").WithHint("add ?service=NAME for each")
	}
	return s.destroy(r, r.query["service"])
}

func destroyOne(s *server, r *request) error { return s.destroy(r, []string{r.PathValue("service")}) }

func (s *server) destroy(r *request, names []string) error {
	volumes, err := r.boolean("volumes")
	if err != nil {
		return err
	}
	return stream(r, func(ctx context.Context, report imx.Report) (struct{}, error) {
		return struct{}{}, s.Operator.Destroy(ctx, r.by, names, volumes, report)
	})
}

func noService(name string) error {
	return imx.Errorf(imx.NotFound, "there is no service %q", name).WithHint("imx status lists the services")
}
