package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"xunjian/pkg/check"
)

// classGivenUp marks a re-probe that was cut short; it never leaves the package.
const classGivenUp check.Class = "given up"

// fault is why an attempt is not ok.
type fault struct {
	outcome check.Outcome
	class   check.Class
	reason  string
}

func failed(class check.Class, format string, args ...any) *fault {
	return &fault{check.Fail, class, fmt.Sprintf(format, args...)}
}

func unable(class check.Class, format string, args ...any) *fault {
	return &fault{check.Unknown, class, fmt.Sprintf(format, args...)}
}

// setup is the attempt of a probe that could not run.
func setup(err error) check.Attempt {
	return check.Attempt{Outcome: check.Unknown, Class: check.ClassSetup, Reason: err.Error()}
}

// verdict is an attempt that ended with the fault, or ok without one.
func verdict(bad *fault) check.Attempt {
	if bad == nil {
		return check.Attempt{Outcome: check.OK}
	}
	return check.Attempt{Outcome: bad.outcome, Class: bad.class, Reason: bad.reason}
}

// own are the errors of a machine that cannot ask, which say nothing of the target.
var own = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL,
	syscall.EACCES, syscall.EPERM, syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT,
}

// resets are the errors of a connection that broke.
var resets = []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED}

// blame turns an error met while doing something into a fault. Errors that name no cause are the class given.
func blame(ctx context.Context, doing string, err error, class check.Class) *fault {
	if cut := cutShort(ctx, doing, err); cut != nil {
		return cut
	}
	for _, e := range own {
		if errors.Is(err, e) {
			return unable(check.ClassSetup, "%s: %v", doing, e)
		}
	}
	if isTLS(err) {
		return failed(check.ClassTLS, "%s: %v", doing, err)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return failed(check.ClassConnect, "%s: %v", doing, err)
	}
	for _, e := range resets {
		if errors.Is(err, e) {
			return failed(check.ClassReset, "%s: connection broke: %v", doing, err)
		}
	}
	return failed(class, "%s: %v", doing, err)
}

// cutShort is the fault of an attempt that ran out of time or was called off.
func cutShort(ctx context.Context, doing string, err error) *fault {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errGivenUp):
		return failed(classGivenUp, "%s: given up", doing)
	case errors.Is(cause, context.DeadlineExceeded), cause == nil && isTimeout(err):
		return failed(check.ClassTimeout, "%s: no answer in time", doing)
	case cause != nil:
		return unable(check.ClassSetup, "%s: called off", doing)
	}
	return nil
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

func isTLS(err error) bool {
	var (
		alert     tls.AlertError
		record    tls.RecordHeaderError
		cert      *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	return errors.As(err, &alert) || errors.As(err, &record) || errors.As(err, &cert) ||
		errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}
