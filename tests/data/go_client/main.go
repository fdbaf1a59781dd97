// List, get, upload, export, and read errors with the generated client, and print what the API returns.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"example.org/acme/results"
)

type summary struct {
	Listed   []string `json:"listed"`
	Run      string   `json:"run"`
	Receipt  []any    `json:"receipt"`
	Artifact int64    `json:"artifact"`
	Export   []any    `json:"export"`
	Gate     int64    `json:"gate"`
	Error    []string `json:"error"`
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func file(path string) *os.File {
	opened, err := os.Open(path)
	check(err)
	return opened
}

func main() {
	configuration := results.NewConfiguration()
	configuration.Servers = results.ServerConfigurations{{URL: os.Args[1]}}
	api := results.NewAPIClient(configuration)
	ctx := context.WithValue(context.Background(), results.ContextAccessToken, os.Args[2])
	found := summary{}

	list := api.ResultsAPI.ListResults(ctx).Limit(1).Status([]string{"passed", "failed"})
	page, _, err := list.Execute()
	check(err)
	id := page.Data[0].Id
	for {
		for _, result := range page.Data {
			found.Listed = append(found.Listed, result.Name)
		}
		if !page.HasMore {
			break
		}
		page, _, err = list.StartingAfter(page.GetNextCursor()).Execute()
		check(err)
	}

	run, _, err := api.RunsAPI.GetRun(ctx, "run_1").Execute()
	check(err)
	found.Run = run.Status

	receipt, _, err := api.RunsAPI.UploadReport(ctx, "run/2").ProjectId("shop").Body(file(os.Args[3])).Execute()
	check(err)
	for receipt.Status == "queued" || receipt.Status == "processing" {
		receipt, _, err = api.ReceiptsAPI.GetReceipt(ctx, receipt.Id).Wait(20).Execute()
		check(err)
	}
	found.Receipt = []any{receipt.Status, receipt.RunId, receipt.GetResults()}

	artifact, _, err := api.ResultsAPI.UploadArtifact(ctx, id, "log.txt").Body(file(os.Args[3])).Execute()
	check(err)
	found.Artifact = artifact.GetSize()

	request := results.NewExportRequest("csv")
	request.Columns = []string{"name", "status"}
	filter := results.NewExportFilters()
	filter.SetRunId("run_1")
	request.SetFilter(*filter)
	export, _, err := api.ResultsAPI.CreateExport(ctx).ExportRequest(*request).IdempotencyKey("go-1").Execute()
	check(err)
	for export.Status == "queued" || export.Status == "running" {
		time.Sleep(50 * time.Millisecond)
		export, _, err = api.ResultsAPI.GetExport(ctx, export.Id).Execute()
		check(err)
	}
	download, _, err := api.ResultsAPI.DownloadExport(ctx, export.Id).Execute()
	check(err)
	text, err := io.ReadAll(download)
	check(err)
	found.Export = []any{export.Status, export.GetRows(), int64(len(text)) == export.GetSize()}

	policy := results.NewGatePolicyIn()
	policy.SetMaxNewFailures(0)
	gate, _, err := api.GatesAPI.PutGate(ctx, "go").GateIn(*results.NewGateIn(*policy)).Execute()
	check(err)
	found.Gate = gate.Version

	_, _, err = api.RunsAPI.GetRun(ctx, "missing").Execute()
	var failure *results.GenericOpenAPIError
	if errors.As(err, &failure) {
		reason := failure.Model().(results.Error).Error
		found.Error = []string{reason.Code, reason.Message}
	}
	check(json.NewEncoder(os.Stdout).Encode(found))
}
