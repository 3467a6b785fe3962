// A web server in one static program.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "Served by %s.\n", os.Getenv("IMX_SERVICE"))
	})
	log.Fatal(http.ListenAndServe(":8080", nil))
}
