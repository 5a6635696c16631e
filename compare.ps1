# In PowerShell: .\compare.ps1, with arguments or without. Goes on in scripts\launch.ps1.
# Where scripts are forbidden: powershell -ExecutionPolicy Bypass -File .\compare.ps1
& "$PSScriptRoot\scripts\launch.ps1" compare @args
exit $LASTEXITCODE
