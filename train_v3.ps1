# In PowerShell: .\train_v3.ps1, with arguments or without. Goes on in scripts\launch.ps1.
# Where scripts are forbidden: powershell -ExecutionPolicy Bypass -File .\train_v3.ps1
& "$PSScriptRoot\scripts\launch.ps1" train_v3 @args
exit $LASTEXITCODE
