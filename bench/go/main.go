// Command attest verifies one piece of evidence many times with Google's Go libraries, and prints
// the nanoseconds that each verification took: the peer of bench/attest.py.
//
//	attest snp REPORT VCEK ASK ARK UNIX-TIME COUNT    files: report, DER certificates
//	attest tdx QUOTE UNIX-TIME COUNT                  signature and certificates, no collateral
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	sevabi "github.com/google/go-sev-guest/abi"
	sevpb "github.com/google/go-sev-guest/proto/sevsnp"
	sevverify "github.com/google/go-sev-guest/verify"
	tdxverify "github.com/google/go-tdx-guest/verify"
)

func main() {
	if len(os.Args) < 5 {
		fail(fmt.Errorf("usage: attest snp|tdx FILES… UNIX-TIME COUNT"))
	}
	last := len(os.Args) - 1
	seconds, err := strconv.ParseInt(os.Args[last-1], 10, 64)
	fail(err)
	count, err := strconv.Atoi(os.Args[last])
	fail(err)
	verify := verifier(os.Args[1], files(os.Args[2:last-1]), time.Unix(seconds, 0))
	for i := 0; i < count; i++ {
		start := time.Now()
		fail(verify())
		fmt.Println(time.Since(start).Nanoseconds())
	}
}

func verifier(kind string, data [][]byte, now time.Time) func() error {
	if kind == "snp" && len(data) == 4 {
		return func() error { return snp(data, now) }
	}
	if kind == "tdx" && len(data) == 1 {
		options := &tdxverify.Options{Now: now}
		return func() error { return tdxverify.RawTdxQuote(data[0], options) }
	}
	fail(fmt.Errorf("no such evidence: %s", kind))
	return nil
}

func snp(data [][]byte, now time.Time) error {
	report, err := sevabi.ReportToProto(data[0])
	if err != nil {
		return err
	}
	chain := &sevpb.CertificateChain{VcekCert: data[1], AskCert: data[2], ArkCert: data[3]}
	options := &sevverify.Options{DisableCertFetching: true, Now: now}
	return sevverify.SnpAttestation(&sevpb.Attestation{Report: report, CertificateChain: chain}, options)
}

func files(paths []string) [][]byte {
	var found [][]byte
	for _, path := range paths {
		data, err := os.ReadFile(path)
		fail(err)
		found = append(found, data)
	}
	return found
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
