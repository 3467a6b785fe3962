//go:build client

package cli

import (
	"context"

	"imx"
)

// judgeRecording is what only the full build can do.
func judgeRecording(context.Context, recording) (imx.Verdict, error) {
	return imx.Verdict{}, errClientBuild("judge recordings")
}
