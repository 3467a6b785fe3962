package healthcheck_test

import (
	"encoding/binary"
	"testing"

	"imx/internal/healthcheck"
)

func TestWhatAHealthServiceAnswersIsRead(t *testing.T) {
	frame := func(message ...byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	}
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"serving":                         {frame(8, 1), ""},
		"serving, with fields to come":    {frame(0x12, 1, 'x', 8, 1, 0x1d, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0, 0, 0, 0), ""},
		"not serving":                     {frame(8, 2), "it is NOT_SERVING"},
		"unknown, which is left out":      {frame(), "it is UNKNOWN"},
		"a state that doesn't exist":      {frame(8, 9), "its answer is no HealthCheckResponse"},
		"nothing":                         {nil, "its answer is no HealthCheckResponse"},
		"less than it says":               {frame(8, 1)[:6], "its answer is no HealthCheckResponse"},
		"more than it says":               {append(frame(8, 1), 0), "its answer is no HealthCheckResponse"},
		"compressed":                      {append([]byte{1}, frame(8, 1)[1:]...), "its answer is no HealthCheckResponse"},
		"a field longer than the message": {frame(0x12, 9), "its answer is no HealthCheckResponse"},
		"a number without an end":         {frame(8, 0x80), "its answer is no HealthCheckResponse"},
	} {
		got := ""
		if err := healthcheck.Serving(c.body); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func FuzzAnyAnswerOfAHealthServiceIsReadOrRefused(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 2, 8, 1})
	f.Add([]byte{0, 0, 0, 0, 4, 0x12, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, body []byte) {
		if err := healthcheck.Serving(body); err == nil && (len(body) < 7 || body[0] != 0) {
			t.Errorf("%x means SERVING", body)
		}
	})
}
