package uplink

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	pb "xunjian/proto/uplink/v1"
)

// reasonKey is the trailer that carries an enrolment's refusal as a word.
const reasonKey = "xunjian-reason"

// maxEnrolSkew is how far a new agent's clock may be off; reports from a worse one would be refused later.
const maxEnrolSkew = 5 * time.Minute

// enrollErrors are the refusals by the words that stand for them. An Enroller's own error with a method Reason() string is
// known by the same words, and told to the agent under any.
var enrollErrors = map[string]error{
	"token_unknown": ErrTokenUnknown,
	"token_used":    ErrTokenUsed,
	"token_expired": ErrTokenExpired,
	"name_taken":    ErrNameTaken,
	"wrong_ca":      ErrWrongCA,
	"clock":         ErrClock,
}

var enrollCodes = map[string]codes.Code{
	"token_unknown": codes.PermissionDenied,
	"token_used":    codes.PermissionDenied,
	"token_expired": codes.PermissionDenied,
	"name_taken":    codes.AlreadyExists,
	"clock":         codes.FailedPrecondition,
}

// Enroll serves a new agent.
func (s *Server) Enroll(ctx context.Context, req *pb.EnrollRequest) (*pb.EnrollResponse, error) {
	if s.opts.Enroller == nil {
		return nil, s.refuseEnrolment(ctx, "disabled", codes.Unimplemented, errors.New("this collector enrols nobody"))
	}
	if !s.enrol.Allow() {
		return nil, s.refuseEnrolment(ctx, "overload", codes.ResourceExhausted, errors.New("too many enrolments at once: try again in a minute"))
	}
	now := time.Now()
	if skew := time.UnixMilli(req.GetWallMs()).Sub(now); skew.Abs() > maxEnrolSkew {
		return nil, s.refuseEnrolment(ctx, "clock", codes.FailedPrecondition, &enrolSkew{skew, now})
	}
	addr := ""
	if p, ok := peer.FromContext(ctx); ok {
		addr = hostOf(p.Addr.String())
	}
	cert, chain, err := s.opts.Enroller.Enroll(ctx, req.GetToken(), req.GetCsr(), addr)
	if err != nil {
		return nil, s.enrollerSaid(ctx, err)
	}
	s.enrolments.add("ok")
	return &pb.EnrollResponse{Certificate: cert, CaChain: chain, WallMs: now.UnixMilli()}, nil
}

type enrolSkew struct {
	skew time.Duration
	now  time.Time
}

func (e *enrolSkew) Error() string {
	return "this machine's clock is off by " + e.skew.Round(time.Second).String() + ", the collector's shows " + e.now.UTC().Format(time.RFC3339)
}

// enrollerSaid maps an Enroller's error. What is not meant for the agent stays in the log.
func (s *Server) enrollerSaid(ctx context.Context, err error) error {
	for word, e := range enrollErrors {
		if errors.Is(err, e) {
			return s.refuseEnrolment(ctx, word, enrollCode(word), e)
		}
	}
	if e, ok := errors.AsType[interface {
		error
		Reason() string
	}](err); ok {
		return s.refuseEnrolment(ctx, e.Reason(), enrollCode(e.Reason()), e)
	}
	s.opts.Logger.Error("enrolment failed", "error", err)
	return s.refuseEnrolment(ctx, "internal", codes.Internal, errors.New("the collector could not enrol this agent: its log says why"))
}

func enrollCode(word string) codes.Code {
	if c, ok := enrollCodes[word]; ok {
		return c
	}
	return codes.InvalidArgument
}

func (s *Server) refuseEnrolment(ctx context.Context, word string, code codes.Code, why error) error {
	s.enrolments.add(word)
	grpc.SetTrailer(ctx, metadata.Pairs(reasonKey, word)) // fails only outside a call
	return status.Error(code, why.Error())
}
