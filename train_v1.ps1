# In PowerShell: .\train_v1.ps1, with arguments or without. Goes on in scripts\launch.ps1.
# Where scripts are forbidden: powershell -ExecutionPolicy Bypass -File .\train_v1.ps1
& "$PSScriptRoot\scripts\launch.ps1" train_v1 @args
exit $LASTEXITCODE
