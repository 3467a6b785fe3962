//go:build !client

package cli

import (
	"context"
	"encoding/json"

	"imx"
	"imx/internal/policy"
)

// judgeRecording gives a recorded input the verdict of a policy.
func judgeRecording(ctx context.Context, r recording) (imx.Verdict, error) {
	book, err := policy.Compile(r.Policy)
	if err != nil {
		return imx.Verdict{}, err
	}
	var in policy.Input
	if err := json.Unmarshal(r.Input, &in); err != nil {
		return imx.Verdict{}, imx.Errorf(imx.Invalid, "what was recorded can't be judged: %w", err).WithHint("imx verify --record writes recordings")
	}
	v, _, err := book.Judge(ctx, in)
	return v, err
}
