package trial

// What is asked over the network, without an instance around it.
var (
	AskHTTP = askHTTP
	AskTCP  = askTCP
)
