package corpus_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
)

// The packets of MQTT 3.1.1 that a round trip takes, with the flags that each must have.
const (
	mqttConnect    = 0x10
	mqttConnAck    = 0x20
	mqttPublish    = 0x30
	mqttSubscribe  = 0x82
	mqttSubAck     = 0x90
	mqttDisconnect = 0xe0
)

// mqttText is a text as MQTT has it: its length in two bytes, then it.
func mqttText(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// mqttRoundTrip subscribes to a topic and publishes a message there, which has to come back.
func mqttRoundTrip(ctx context.Context, address string) error {
	c, hangUp, err := dial(ctx, address)
	if err != nil {
		return err
	}
	defer hangUp()
	topic, message := mqttText("shop/orders"), fmt.Sprintf("order %d", rand.Int())
	connect := append(mqttText("MQTT"), 4, 2, 0, 30) // version 3.1.1, a clean session, alive for 30 s
	steps := []struct {
		send byte
		body []byte
		back byte
		says []byte
	}{
		{mqttConnect, append(connect, mqttText("corpus")...), mqttConnAck, []byte{0, 0}},
		{mqttSubscribe, append(append([]byte{0, 1}, topic...), 0), mqttSubAck, []byte{0, 1, 0}},
		{mqttPublish, append(topic, message...), mqttPublish, append(topic, message...)},
	}
	for _, s := range steps {
		if err := mqttSend(c, s.send, s.body); err != nil {
			return err
		}
		kind, body, err := mqttReceive(c)
		if err != nil {
			return err
		}
		if kind != s.back || string(body) != string(s.says) {
			return fmt.Errorf("packet %#x is answered with %#x %q instead of %#x %q", s.send, kind, body, s.back, s.says)
		}
	}
	return mqttSend(c, mqttDisconnect, nil)
}

func mqttSend(c *bufio.ReadWriter, kind byte, body []byte) error {
	// MQTT's length is base 128 with the least digit first, as a varint is.
	packet := binary.AppendUvarint([]byte{kind}, uint64(len(body)))
	if _, err := c.Write(append(packet, body...)); err != nil {
		return err
	}
	return c.Flush()
}

func mqttReceive(c *bufio.ReadWriter) (kind byte, body []byte, err error) {
	if kind, err = c.ReadByte(); err != nil {
		return 0, nil, err
	}
	length, err := binary.ReadUvarint(c)
	if err != nil || length > 1<<20 {
		return 0, nil, fmt.Errorf("a packet of %d bytes, %w", length, err)
	}
	body = make([]byte, length)
	_, err = io.ReadFull(c, body)
	return kind, body, err
}
