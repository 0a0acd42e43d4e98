// lab check --exec "dotnet run --project examples/kit/csharp -- readmodel", or naive
Adapter.Serve(folder => args is ["naive"] ? new Naive(folder) : new ReadModel(folder));
