# In PowerShell: .\train_v2.ps1, with arguments or without. Goes on in scripts\launch.ps1.
# Where scripts are forbidden: powershell -ExecutionPolicy Bypass -File .\train_v2.ps1
& "$PSScriptRoot\scripts\launch.ps1" train_v2 @args
exit $LASTEXITCODE
