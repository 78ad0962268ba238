// Command gmtls is a TLCP server made with another library, for the tests of pkg/tlcp: it prints its address and serves until
// its input ends. Arguments: PEM files of the signing certificate, its key, the encryption certificate, its key.
package main

import (
	"fmt"
	"io"
	"net"
	"os"

	"github.com/tjfoc/gmsm/gmtls"
)

func main() {
	if err := serve(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(files []string) error {
	if len(files) != 4 {
		return fmt.Errorf("want four files, got %d", len(files))
	}
	signing, err := gmtls.LoadX509KeyPair(files[0], files[1])
	if err != nil {
		return err
	}
	encryption, err := gmtls.LoadX509KeyPair(files[2], files[3])
	if err != nil {
		return err
	}
	l, err := gmtls.Listen("tcp", "127.0.0.1:0", &gmtls.Config{
		GMSupport:    &gmtls.GMSupport{},
		Certificates: []gmtls.Certificate{signing, encryption},
	})
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go accept(l)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_, _ = io.WriteString(conn, "hello\n") // shakes hands first
		}()
	}
}
