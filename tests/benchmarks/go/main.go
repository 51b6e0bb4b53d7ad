// go-smtp, which accepts and discards.  Arguments: PORT [CERTIFICATE KEY].
package main

import (
	"crypto/tls"
	"io"
	"io/ioutil"
	"log"
	"os"

	"github.com/emersion/go-smtp"
)

type backend struct{}

func (backend) Login(*smtp.ConnectionState, string, string) (smtp.Session, error) {
	return session{}, nil
}

func (backend) AnonymousLogin(*smtp.ConnectionState) (smtp.Session, error) {
	return session{}, nil
}

type session struct{}

func (session) Reset()                              {}
func (session) Logout() error                       { return nil }
func (session) Mail(string, smtp.MailOptions) error { return nil }
func (session) Rcpt(string) error                   { return nil }

func (session) Data(content io.Reader) error {
	_, err := io.Copy(ioutil.Discard, content)
	return err
}

func main() {
	server := smtp.NewServer(backend{})
	server.Addr = "127.0.0.1:" + os.Args[1]
	server.Domain = "localhost"
	server.AuthDisabled = true
	if len(os.Args) > 2 {
		pair, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
		if err != nil {
			log.Fatal(err)
		}
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	log.Fatal(server.ListenAndServe())
}
