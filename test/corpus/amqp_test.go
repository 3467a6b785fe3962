package corpus_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
)

// The frames of AMQP 0-9-1.
const (
	amqpMethodFrame = 1
	amqpHeaderFrame = 2
	amqpBodyFrame   = 3
	amqpFrameEnd    = 0xce
)

// method is a class and a method of AMQP 0-9-1.
type method uint32

const (
	connectionStart   method = 10<<16 | 10
	connectionStartOk method = 10<<16 | 11
	connectionTune    method = 10<<16 | 30
	connectionTuneOk  method = 10<<16 | 31
	connectionOpen    method = 10<<16 | 40
	connectionOpenOk  method = 10<<16 | 41
	connectionClose   method = 10<<16 | 50
	connectionCloseOk method = 10<<16 | 51
	channelOpen       method = 20<<16 | 10
	channelOpenOk     method = 20<<16 | 11
	queueDeclare      method = 50<<16 | 10
	queueDeclareOk    method = 50<<16 | 11
	basicPublish      method = 60<<16 | 40
	basicGet          method = 60<<16 | 70
	basicGetOk        method = 60<<16 | 71
	confirmSelect     method = 85<<16 | 10
	confirmSelectOk   method = 85<<16 | 11
	basicAck          method = 60<<16 | 80
)

// shortText and longText are AMQP's texts, with a length of one byte and of four.
func shortText(s string) []byte { return append([]byte{byte(len(s))}, s...) }

func longText(s string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
}

// amqp is a connection that sends on one channel at a time.
type amqp struct {
	*bufio.ReadWriter

	channel uint16
}

// amqpRoundTrip logs in, declares a queue, publishes a message to it and gets it from there.
func amqpRoundTrip(ctx context.Context, address string) error {
	c, hangUp, err := dial(ctx, address)
	if err != nil {
		return err
	}
	defer hangUp()
	a := &amqp{ReadWriter: c}
	if err := a.login("shop", "shop"); err != nil {
		return err
	}
	const queue = "orders"
	message := fmt.Sprintf("order %d", rand.Int())
	declare := append(append([]byte{0, 0}, shortText(queue)...), 4, 0, 0, 0, 0) // exclusive, no arguments
	a.channel = 1
	for _, s := range []step{
		{channelOpen, shortText(""), channelOpenOk},
		{queueDeclare, declare, queueDeclareOk},
		{confirmSelect, []byte{0}, confirmSelectOk},
	} {
		if err := a.call(s); err != nil {
			return err
		}
	}
	if err := a.publish(queue, message); err != nil {
		return err
	}
	if err := a.call(step{basicGet, append(append([]byte{0, 0}, shortText(queue)...), 1), basicGetOk}); err != nil {
		return err
	}
	got, err := a.content()
	if err != nil {
		return err
	}
	if err := says(got, message); err != nil {
		return err
	}
	a.channel = 0
	return a.call(step{connectionClose, []byte{0, 200, 0, 0, 0, 0, 0}, connectionCloseOk})
}

// login is the handshake, with the mechanism PLAIN and what the server proposes.
func (a *amqp) login(user, password string) error {
	if _, err := a.WriteString("AMQP\x00\x00\x09\x01"); err != nil {
		return err
	}
	if err := a.Flush(); err != nil {
		return err
	}
	if _, err := a.expect(connectionStart); err != nil {
		return err
	}
	answer := bytes.Join([][]byte{longText(""), shortText("PLAIN"), longText("\x00" + user + "\x00" + password), shortText("en_US")}, nil)
	if err := a.send(amqpMethodFrame, connectionStartOk.with(answer)); err != nil {
		return err
	}
	limits, err := a.expect(connectionTune)
	if err != nil {
		return err
	}
	if err := a.send(amqpMethodFrame, connectionTuneOk.with(limits)); err != nil {
		return err
	}
	return a.call(step{connectionOpen, append(shortText("/"), 0, 0), connectionOpenOk})
}

// publish sends a message to a queue and waits until the server has taken it.
func (a *amqp) publish(queue, message string) error {
	header := binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, uint64(len(message)))
	for _, f := range []struct {
		kind byte
		body []byte
	}{
		{amqpMethodFrame, basicPublish.with(append(append([]byte{0, 0, 0}, shortText(queue)...), 0))}, // the default exchange
		{amqpHeaderFrame, append(header, 0, 0)},
		{amqpBodyFrame, []byte(message)},
	} {
		if err := a.send(f.kind, f.body); err != nil {
			return err
		}
	}
	_, err := a.expect(basicAck)
	return err
}

// content reads a message that follows a method.
func (a *amqp) content() (string, error) {
	kind, header, err := a.receive()
	if err != nil || kind != amqpHeaderFrame || len(header) < 12 {
		return "", fmt.Errorf("frame %d %q instead of a message's header, %w", kind, header, err)
	}
	var got []byte
	for uint64(len(got)) < binary.BigEndian.Uint64(header[4:]) {
		kind, body, err := a.receive()
		if err != nil || kind != amqpBodyFrame {
			return "", fmt.Errorf("frame %d %q instead of a message's body, %w", kind, body, err)
		}
		got = append(got, body...)
	}
	return string(got), nil
}

// step is a method and the one that answers it.
type step struct {
	send method
	body []byte
	back method
}

func (a *amqp) call(s step) error {
	if err := a.send(amqpMethodFrame, s.send.with(s.body)); err != nil {
		return err
	}
	_, err := a.expect(s.back)
	return err
}

func (m method) with(arguments []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(m)), arguments...)
}

func (a *amqp) send(kind byte, body []byte) error {
	frame := binary.BigEndian.AppendUint16([]byte{kind}, a.channel)
	frame = append(append(frame, longText(string(body))...), amqpFrameEnd)
	if _, err := a.Write(frame); err != nil {
		return err
	}
	return a.Flush()
}

// expect returns the arguments of the next frame, which must be the method.
func (a *amqp) expect(want method) ([]byte, error) {
	kind, body, err := a.receive()
	if err != nil {
		return nil, err
	}
	if kind != amqpMethodFrame || len(body) < 4 || method(binary.BigEndian.Uint32(body)) != want {
		return nil, fmt.Errorf("frame %d %q instead of method %d.%d", kind, body, want>>16, want&0xffff)
	}
	return body[4:], nil
}

func (a *amqp) receive() (kind byte, body []byte, err error) {
	var head struct {
		Kind    byte
		Channel uint16
		Length  uint32
	}
	if err := binary.Read(a, binary.BigEndian, &head); err != nil {
		return 0, nil, err
	}
	if head.Length > 1<<20 {
		return 0, nil, fmt.Errorf("a frame of %d bytes", head.Length)
	}
	body = make([]byte, head.Length+1)
	if _, err := io.ReadFull(a, body); err != nil {
		return 0, nil, err
	}
	if body[head.Length] != amqpFrameEnd {
		return 0, nil, fmt.Errorf("a frame ends with %#x", body[head.Length])
	}
	return head.Kind, body[:head.Length], nil
}
