package guest_test

import (
	"bytes"
	"fmt"

	"nlmmap/guest"
)

// A message is one line of text, so that it survives a serial line and can be read in a file.
func ExampleLine() {
	var wire bytes.Buffer
	line := guest.NewLine(&wire)
	if err := line.Send(map[string]string{"step": "1\n2"}); err != nil {
		fmt.Println(err)
	}
	fmt.Print(wire.String())
	var got map[string]string
	fmt.Println(line.Receive(&got), got["step"] == "1\n2")
	// Output:
	// 7334176b {"step":"1\n2"}
	// <nil> true
}
