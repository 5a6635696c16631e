# Finds a Python by running it, and hands over to launch.py: launch.ps1 NAME [arguments].
$env:PYTHONUTF8 = "1"
$encoding = [Console]::OutputEncoding
try { [Console]::OutputEncoding = [Text.Encoding]::UTF8 } catch { }
$ask = "$PSScriptRoot\launch_parts\this_python.py"
$venv = "$PSScriptRoot\..\.venv\Scripts\python.exe"
foreach ($try in @("py", "-3.13"), @("py", "-3.12"), @("py", "-3.11"), @("python"), @($venv)) {
    if (-not (Get-Command $try[0] -ErrorAction SilentlyContinue)) { continue }
    $flags = @($try | Select-Object -Skip 1)
    $found = & $try[0] @flags $ask 2>$null | Where-Object { $_ -like "PYTHON=*" }
    if ($found) { break }
}
if ($found) {
    $python = $found.Substring(7)
    & $python "$PSScriptRoot\launch.py" @args
    $code = $LASTEXITCODE
} else {
    [Console]::Error.Write([IO.File]::ReadAllText("$PSScriptRoot\no_python.txt"))
    $code = 2
}
try { [Console]::OutputEncoding = $encoding } catch { }
$clicked = [Environment]::CommandLine -like "*Get-ExecutionPolicy*" # "Run with PowerShell"
if ($clicked -and -not $env:CI -and -not $env:NO_PAUSE) { Read-Host "Press Enter to close" }
exit $code
