package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"imx"
)

// maxRequest bounds the bytes of a kept request, packed or not: what the API lets in, and its base64.
const maxRequest = 64 << 20

// PackRequest returns a request as it is kept: JSON under zstd, because the contents of all files are in it. The same request gives the same bytes.
func PackRequest(req imx.PlanRequest) ([]byte, error) {
	raw, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer z.Close() // nothing is written to it
	return z.EncodeAll(raw, nil), nil
}

// UnpackRequest reads a request as it is kept; older ones are JSON alone. Errors: Invalid for bytes that are none, or that unpack to more
// than a request may have.
func UnpackRequest(kept []byte) (imx.PlanRequest, error) {
	var req imx.PlanRequest
	if !bytes.HasPrefix(kept, []byte("{")) {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRequest))
		if err != nil {
			return req, fmt.Errorf("unpacking a request: %w", err)
		}
		defer z.Close()
		if kept, err = z.DecodeAll(kept, nil); err != nil {
			return req, imx.Errorf(imx.Invalid, "a request can't be unpacked: %w", err)
		}
	}
	if err := json.Unmarshal(kept, &req); err != nil {
		return req, imx.Errorf(imx.Invalid, "a request can't be read: %w", err)
	}
	return req, nil
}
