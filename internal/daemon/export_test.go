package daemon

import (
	"time"

	"imx"
)

// Due is due, of a disk that is nearly full or not.
func Due(since time.Duration, full bool) (imx.CollectRequest, bool) {
	if full {
		return due(since, diskShort)
	}
	return due(since, diskAmple)
}
