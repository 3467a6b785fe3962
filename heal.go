package imx

import "time"

// Taint marks an instance that is to be replaced though it runs: what it is can't be trusted any more, or a person wants it gone.
type Taint struct {
	By     Principal `json:"by"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// Mend is what somebody else changed of the machine's network that instances need, and that the engine put back.
type Mend struct {
	Time time.Time `json:"time"` // when it was back
	What []string  `json:"what"` // what was missing or changed
}

// What heals.
type (
	// InstanceTainted has an instance replaced: a healthy one comes first, then it finishes its connections and stops.
	InstanceTainted struct {
		Instance string `json:"instance"` // its id
		Reason   string `json:"reason"`
	}
	// TaintEnded takes a taint back before the instance was replaced.
	TaintEnded struct {
		Instance string `json:"instance"`
		Reason   string `json:"reason,omitempty"`
	}
	// ServicesReturned says that what went down with its machine, or with all that ran on it, is back.
	ServicesReturned struct {
		Services []string `json:"services,omitempty"`
		Late     []string `json:"late,omitempty"` // that didn't answer in time; they go on coming up
		Took     Duration `json:"took"`           // from the server's start
	}
	// NetworkMended says that the engine put back what somebody else had changed.
	NetworkMended struct {
		Mend Mend `json:"mend"`
	}
)

func (InstanceTainted) kind() string  { return "instance-tainted" }
func (TaintEnded) kind() string       { return "taint-ended" }
func (NetworkMended) kind() string    { return "network-mended" }
func (ServicesReturned) kind() string { return "services-returned" }
