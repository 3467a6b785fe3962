package healthcheck

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// askGRPC asks the standard health service (grpc.health.v1.Health/Check) at an address, without TLS. It is one
// request with one short message: HTTP/2 with the frames of gRPC and fields of protocol buffers.
func askGRPC(ctx context.Context, address, service string) error {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, Protocols: &protocols, MaxResponseHeaderBytes: 64 << 10}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/grpc.health.v1.Health/Check", bytes.NewReader(healthRequest(service)))
	if err != nil {
		return err
	}
	request.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"imx-health"}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	const enough = 4 << 10 // an answer is a few bytes
	body, err := io.ReadAll(io.LimitReader(response.Body, enough))
	err = errors.Join(err, response.Body.Close())
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return errors.New(response.Status)
	}
	if err := grpcStatus(response, service); err != nil {
		return err
	}
	return serving(body)
}

// grpcStatus is what the call itself came to: the trailers tell, or the header where there is no answer.
func grpcStatus(response *http.Response, service string) error {
	said := response.Trailer
	if said.Get("Grpc-Status") == "" {
		said = response.Header
	}
	// Status codes: https://grpc.github.io/grpc/core/md_doc_statuscodes.html
	switch code := said.Get("Grpc-Status"); code {
	case "0":
		return nil
	case "":
		return errors.New("it doesn't speak gRPC")
	case "5":
		return fmt.Errorf("it knows no service %q", service) //nolint:err113 // its words are its meaning
	case "12":
		return errors.New("the program has no health service (grpc.health.v1)")
	default:
		message, err := url.PathUnescape(said.Get("Grpc-Message"))
		if err != nil {
			message = said.Get("Grpc-Message")
		}
		return fmt.Errorf("gRPC status %s: %q", code, message) //nolint:err113 // its words are its meaning
	}
}

// frameHeader is what comes before a message: whether it is compressed, and its length.
const frameHeader = 5

// healthRequest is a HealthCheckRequest: field 1 is the service's name.
func healthRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = binary.AppendUvarint([]byte{1<<3 | bytesField}, uint64(len(service)))
		message = append(message, service...)
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))) //nolint:gosec // a template's name
	return append(frame, message...)
}

// The wire types of protocol buffers (https://protobuf.dev/programming-guides/encoding/).
const (
	varintField = 0
	longField   = 1
	bytesField  = 2
	shortField  = 5
)

var errGarbled = errors.New("its answer is no HealthCheckResponse")

// serving reads a HealthCheckResponse, of which field 1 is the state. Nil means SERVING.
func serving(body []byte) error {
	if len(body) < frameHeader || body[0] != 0 || int64(len(body)-frameHeader) != int64(binary.BigEndian.Uint32(body[1:])) {
		return errGarbled
	}
	state := uint64(0)
	for message := body[frameHeader:]; len(message) > 0; {
		f, rest, ok := nextField(message)
		if !ok {
			return errGarbled
		}
		if f.key == 1<<3|varintField {
			state = f.value // the last one counts
		}
		message = rest
	}
	if names := []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}; state != 1 && state < uint64(len(names)) {
		return errors.New("it is " + names[state])
	}
	if state != 1 {
		return errGarbled
	}
	return nil
}

// field is a message's: its number and wire type, and its value if that is a number.
type field struct{ key, value uint64 }

// nextField reads the first field of a message.
func nextField(message []byte) (f field, rest []byte, ok bool) {
	key, n := binary.Uvarint(message)
	if n <= 0 {
		return field{}, nil, false
	}
	rest = message[n:]
	size := uint64(0)
	switch key & 7 {
	case varintField:
		value, n := binary.Uvarint(rest)
		return field{key, value}, rest[max(n, 0):], n > 0
	case longField:
		size = 8
	case shortField:
		size = 4
	case bytesField:
		if size, n = binary.Uvarint(rest); n <= 0 {
			return field{}, nil, false
		}
		rest = rest[n:]
	default:
		return field{}, nil, false
	}
	if size > uint64(len(rest)) {
		return field{}, nil, false
	}
	return field{key: key}, rest[size:], true
}
